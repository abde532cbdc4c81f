"""One quantization in a process of its own; prints seconds and peak MB, libraries loaded beforehand.

python _quantizing.py onnxruntime|tflite MODEL.onnx MADE PICTURES INPUTS.json
python _quantizing.py ours RECIPE.yaml DIST HOME
"""

import json
import resource
import sys
import time
from pathlib import Path


def feeds(pictures, inputs):
    """The calibration samples, as the stages read them."""
    from workbench.calib.feeds import feeds as read
    from workbench.recipe.schema import InputSpec

    return read(Path(pictures), [InputSpec.model_validate(spec) for spec in json.loads(Path(inputs).read_text())])


def by_onnxruntime(model, made, pictures, inputs):
    """quantize_static as its documentation has it: QDQ, U8 activations by MinMax, S8 weights per channel."""
    from onnxruntime import quantization as theirs

    class Reader(theirs.CalibrationDataReader):
        """The pictures in turn."""

        def __init__(self):
            self.left = feeds(pictures, inputs)

        def get_next(self):
            return next(self.left, None)

    theirs.quantize_static(
        model,
        made,
        Reader(),
        quant_format=theirs.QuantFormat.QDQ,
        per_channel=True,
        activation_type=theirs.QuantType.QUInt8,
        weight_type=theirs.QuantType.QInt8,
        calibrate_method=theirs.CalibrationMethod.MinMax,
    )


def by_tensorflow(model, made, pictures, inputs):
    """TensorFlow's converter, full integer with float edges, on the network as our target lowers it."""
    from workbench.runtimes.tensorflow import import_tensorflow
    from workbench.targets.tflite import lowering

    tf = import_tensorflow()
    lowered = lowering.lower(Path(model), tf)
    names = [edge.name for edge in lowered.inputs]

    def samples():
        for feed in feeds(pictures, inputs):
            yield [feed[name].transpose(0, 2, 3, 1) for name in names]

    converter = tf.compat.v1.lite.TFLiteConverter(
        lowered.graph_def,
        None,
        None,
        [(edge.node, list(edge.shape)) for edge in lowered.inputs],
        [edge.node for edge in lowered.outputs],
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    Path(made).write_bytes(converter.convert())


def by_us(recipe, dist, home):
    """`workbench convert`, without its display."""
    from workbench import pipeline
    from workbench.engine.store import Store
    from workbench.recipe.load import load

    class Log:
        """Errors are raised, warnings are told; nothing else is needed."""

        def begin(self, stage):
            """Not shown."""

        def end(self, done):
            print(f"{done.step.name}: {done.seconds:.1f} s" if done.ran else f"{done.step.name}: kept", file=sys.stderr)

        def step(self, done, total, what):
            """Not shown."""

        def note(self, text):
            print(text, file=sys.stderr)

        def warn(self, text):
            print(text, file=sys.stderr)

    request = pipeline.Request(dist=Path(dist), mirrors=pipeline.mirrors_of_environment())
    pipeline.convert(load(Path(recipe)), request, Store(Path(home)), Log())


def main(what, *arguments):
    """Quantize, then print."""
    import onnxruntime  # noqa: F401 -- loading libraries is not measured

    if what == "tflite" or "tflite" in Path(arguments[0]).stem:
        from workbench.runtimes.tensorflow import import_tensorflow

        import_tensorflow()
    start = time.perf_counter()
    {"onnxruntime": by_onnxruntime, "tflite": by_tensorflow, "ours": by_us}[what](*arguments)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    print(json.dumps([seconds, peak]))


if __name__ == "__main__":
    main(*sys.argv[1:])
