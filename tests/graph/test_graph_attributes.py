"""Attributes by kind, with their defaults."""

from _surgery import graph, node

from workbench.graph import attributes, io


def test_present_and_absent():
    """What is written is read; what is not has the default given."""
    model = graph(
        '(float[1,1,4,4] x) => (float[i,j,m,n] y) { y = MaxPool<kernel_shape = [2, 3], auto_pad = "VALID">(x) }'
    )
    pool = node(model, "y")
    assert attributes.integers(pool, "kernel_shape", ()) == (2, 3)
    assert attributes.integers(pool, "strides", (1, 1)) == (1, 1)
    assert attributes.text(pool, "auto_pad", "NOTSET") == "VALID"
    assert attributes.integer(pool, "ceil_mode", 0) == 0
    assert attributes.decimal(pool, "nothing", 0.5) == 0.5


def test_written_attributes_reach_the_file():
    """Each kind keeps its type through serialization, an empty list too."""
    model = graph("(float[1] x) => (float[1] y) { y = custom.Any(x) }")
    changed = node(model, "y")
    attributes.put_integer(changed, "one", 1)
    attributes.put_integers(changed, "none", [])
    attributes.put_decimal(changed, "half", 0.5)
    again = node(io.from_bytes(io.to_bytes(model)), "y")
    assert attributes.integer(again, "one", 0) == 1
    assert attributes.integers(again, "none", (9,)) == ()
    assert attributes.decimal(again, "half", 0) == 0.5
