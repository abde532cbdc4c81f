"""The published Convolutional Pose Machine, when it is at hand: ours equals TensorFlow and the published file."""

from pathlib import Path

import numpy as np
import pytest

from workbench.engine.progress import Silent
from workbench.runtimes import open_model
from workbench.runtimes.tensorflow import import_tensorflow
from workbench.targets._target import TargetJob
from workbench.targets.tflite import Options, build

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "models" / "cpm"


@pytest.mark.slow
def test_converted_equals_the_published_file(tmp_path):
    """Same weights: outputs within 1e-5 of the published .tflite and of TensorFlow, and 52 operators less than it."""
    if not (FOLDER / "published.tflite").is_file():
        pytest.skip(f"no published network in {FOLDER}")
    import tf2onnx

    tf = import_tensorflow()
    graph = tf.compat.v1.GraphDef.FromString((FOLDER / "model.pb").read_bytes())
    names = ["image:0"], ["Convolutional_Pose_Machine/stage_5_out:0"]
    model, _ = tf2onnx.convert.from_graph_def(
        graph, input_names=names[0], output_names=names[1], opset=17, inputs_as_nchw=names[0], outputs_as_nchw=names[1]
    )
    (tmp_path / "canonical.onnx").write_bytes(model.SerializeToString())
    told = []

    class Told(Silent):
        def note(self, text):
            told.append(text)

    job = TargetJob(
        name="net",
        options=Options(),
        model=tmp_path / "canonical.onnx",
        quantized=None,
        inputs=(),
        pictures=tmp_path,
        out=tmp_path,
        progress=Told(),
    )

    build(job)

    assert told == ["net.fp32.tflite: 185 operators"]
    picture = np.random.default_rng(0).uniform(0, 255, (1, 192, 192, 3)).astype(np.float32)
    results = []
    for path in (tmp_path / "net.fp32.tflite", FOLDER / "published.tflite", FOLDER / "model.pb"):
        with open_model(path, threads=1) as runner:
            results.append(next(iter(runner.run({runner.inputs[0].name: picture}).values())))
    np.testing.assert_allclose(results[0], results[1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(results[0], results[2], rtol=0, atol=1e-5)
