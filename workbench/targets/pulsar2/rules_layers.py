"""Rules on mixed precision: which layers an entry of ``layer_configs`` selects, and what the tool makes of its type."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from workbench.catalog import did_you_mean
from workbench.recipe.yaml_marks import At
from workbench.targets.pulsar2.facts import Facts, NodeFact
from workbench.targets.pulsar2.rules_finding import EVERY, Finding, Findings, warning
from workbench.targets.pulsar2.schema import BuildConfig, LayerConfig

FP32_OPERATORS = ("LeakyRelu", "Sigmoid", "Relu", "Add", "Mul", "Div", "Sub", "Concat", "Softmax")
FOLLOWING = ("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze")  # they take their neighbour's type
_LISTS = ("quant", "layer_configs")
_FP32_ABLE = f"only {', '.join(FP32_OPERATORS)} take it"
_ELSEWHERE = "names are those of frontend/optimized.onnx: hold the configuration against that file"


def layer_selectors(config: BuildConfig) -> Findings:
    """A mixed-precision entry has exactly one selector."""
    for index, one in enumerate(config.quant.layer_configs):
        at = (*_LISTS, index)
        if bool(one.start_tensor_names) != bool(one.end_tensor_names):
            yield Finding(at, "start_tensor_names and end_tensor_names come together", "write both, or neither")
            continue
        selectors = {
            "layer_name": one.layer_name,
            "layer_names": one.layer_names,
            "op_type": one.op_type,
            "op_types": one.op_types,
            "start_tensor_names + end_tensor_names": one.start_tensor_names,
        }
        used = [name for name, value in selectors.items() if value]
        if len(used) != 1:
            found = f"{len(used)} selectors ({', '.join(used)})" if used else "no selector"
            yield Finding(at, f"{found}, an entry has exactly one", f"write one of {', '.join(selectors)}")


def float_operators(config: BuildConfig) -> Findings:
    """FP32 is silently ignored for all but nine operators."""
    for index, one in enumerate(config.quant.layer_configs):
        refused = [kind for kind in _types(one) if kind not in FP32_OPERATORS]
        if one.data_type == "FP32" and refused:
            what = f"FP32 is silently ignored for {', '.join(refused)}"
            yield Finding((*_LISTS, index, "data_type"), what, _instead(refused))


def convolutions_only(config: BuildConfig) -> Findings:
    """output_data_type and weight_data_type are for convolutions."""
    for index, one in enumerate(config.quant.layer_configs):
        others = [kind for kind in _types(one) if kind != "Conv"]
        for key in ("output_data_type", "weight_data_type"):
            if others and key in one.model_fields_set and getattr(one, key) != LayerConfig.model_fields[key].default:
                what = f"{key} is for Conv, {', '.join(others)} ignores it"
                yield Finding((*_LISTS, index, key), what, "remove it, or select Conv alone")


def layers_once(config: BuildConfig) -> Findings:
    """No layer and no type of operators is configured twice."""
    for kind, names in (("layer", _names), ("operator type", _types)):
        seen: dict[str, int] = {}
        for index, one in enumerate(config.quant.layer_configs):
            for name in dict.fromkeys(names(one)):
                if name in seen:
                    what = f"{kind} {name!r} is also in entry {seen[name]}"
                    yield Finding((*_LISTS, index), what, "keep one of the two")
                seen.setdefault(name, index)


def layers_are_nodes(config: BuildConfig, known: Facts) -> Findings:
    """A layer is called by the name of exactly one node: of an unknown name Pulsar2 says nothing."""
    if known.nodes is None:
        return
    names = [node.name for node in known.nodes]
    for at, name in _named(config):
        count = names.count(name)
        if count > 1:
            yield Finding(at, f"{count} nodes of the model are called {name!r}", "give them names of their own")
        elif count == 0:
            near = did_you_mean(name, filter(None, set(names)))
            fix = near if near.startswith("did") else _ELSEWHERE
            yield Finding(at, f"the model has no node {name!r}", fix)


def subgraphs_are_tensors(config: BuildConfig, known: Facts) -> Findings:
    """A part of the graph starts and ends at tensors, not nodes, of the model; DEFAULT is the whole."""
    if known.nodes is None:
        return
    nodes = {node.name for node in known.nodes}
    for index, one in enumerate(config.quant.layer_configs):
        for key, names in (("start_tensor_names", one.start_tensor_names), ("end_tensor_names", one.end_tensor_names)):
            for place, name in enumerate(names):
                if name in known.tensors or (name == EVERY and len(names) == 1):
                    continue
                near = did_you_mean(name, known.tensors)
                fix = near if near.startswith("did") else _ELSEWHERE
                if name in nodes:
                    fix = "that is a node: name the tensor it reads or makes"
                yield Finding((*_LISTS, index, key, place), f"the model has no tensor {name!r}", fix)


def types_are_there(config: BuildConfig, known: Facts) -> Findings:
    """A type of operators that the model does not have selects nothing."""
    if known.nodes is None:
        return
    there = {node.op_type for node in known.nodes}
    for index, one in enumerate(config.quant.layer_configs):
        for kind in _types(one):
            if kind not in there:
                near = did_you_mean(kind, there)
                fix = near if near.startswith("did") else "remove it, unless the tool's optimizer makes such operators"
                key = "op_type" if one.op_type else "op_types"
                yield warning((*_LISTS, index, key), f"no node of the model is a {kind}", fix)


def float_layers(config: BuildConfig, known: Facts) -> Findings:
    """FP32 is ignored, too, for the other operators that a name or a part of the graph selects."""
    if known.nodes is None:
        return
    kinds = {node.name: node.op_type for node in known.nodes}
    for at, name in _named(config):
        kind = kinds.get(name)
        if config.quant.layer_configs[int(at[2])].data_type == "FP32" and kind and kind not in FP32_OPERATORS:
            what = f"FP32 is silently ignored for the {kind} {name!r}"
            yield Finding(at, what, _instead([kind]))
    for index, one in enumerate(config.quant.layer_configs):
        if one.data_type == "FP32" and one.start_tensor_names:
            inside = [known.nodes[place] for place in sorted(_between(known.nodes, one))]
            refused = sorted({node.op_type for node in inside if node.op_type not in FP32_OPERATORS})
            if refused:
                what = f"FP32 is silently ignored for {', '.join(refused)} in this part of the graph"
                yield warning((*_LISTS, index, "data_type"), what, _instead(refused))


def convolution_layers(config: BuildConfig, known: Facts) -> Findings:
    """A layer with an output_data_type of its own is a convolution."""
    kinds = {node.name: node.op_type for node in known.nodes or ()}
    for at, name in _named(config):
        one = config.quant.layer_configs[int(at[2])]
        if one.output_data_type != "U8" and kinds.get(name, "Conv") != "Conv":
            what = f"output_data_type is for Conv, the {kinds[name]} {name!r} ignores it"
            yield Finding(at, what, "remove the layer from this entry, or the type")


def wide_concats(config: BuildConfig, known: Facts) -> Findings:
    """A Concat between layers at U16 is at U16 itself, or the path falls back to U8 there."""
    if known.nodes is None or not config.quant.layer_configs:
        return
    chosen = _effective(config, known.nodes)
    makers = {name: place for place, node in enumerate(known.nodes) for name in node.outputs}
    readers: dict[str, list[int]] = {}
    for place, node in enumerate(known.nodes):
        for name in node.inputs:
            readers.setdefault(name, []).append(place)

    def wide(place: int, *, made: bool) -> bool:
        entry = chosen.get(place)
        one = config.quant.layer_configs[entry] if entry is not None else None
        return one is not None and "U16" in (one.data_type, one.output_data_type if made else "")

    for place, node in enumerate(known.nodes):
        if node.op_type != "Concat" or wide(place, made=False):
            continue
        before = _past_movers(known.nodes, node.inputs, lambda name: [makers[name]] if name in makers else [], "inputs")
        behind = _past_movers(known.nodes, node.outputs, lambda name: readers.get(name, []), "outputs")
        entries = [chosen[one] for one in behind if wide(one, made=False)]
        if entries and any(wide(one, made=True) for one in before):
            name = node.name or (node.outputs[0] if node.outputs else "")
            what = f"the Concat {name!r} between layers at U16 is not at U16: the path falls back to U8 there"
            yield Finding((*_LISTS, min(entries)), what, "add it to the entry")


def _past_movers(
    nodes: tuple[NodeFact, ...], start: Iterable[str], step: Callable[[str], list[int]], key: str
) -> set[int]:
    """The nodes next to tensors, looking past those that only move data."""
    found, waiting, seen = set(), list(start), set(start)
    while waiting:
        for place in step(waiting.pop()):
            if nodes[place].op_type not in FOLLOWING:
                found.add(place)
                continue
            fresh = [name for name in getattr(nodes[place], key) if name not in seen]
            seen.update(fresh)
            waiting += fresh
    return found


def _effective(config: BuildConfig, nodes: tuple[NodeFact, ...]) -> dict[int, int]:
    """Which entry decides on each node, by their places: a name beats a type, a type beats a part of the graph."""
    chosen: dict[int, int] = {}
    entries = list(enumerate(config.quant.layer_configs))
    for index, one in entries:
        chosen.update(dict.fromkeys(_between(nodes, one), index))
    for index, one in entries:
        chosen.update({place: index for place, node in enumerate(nodes) if node.op_type in _types(one)})
    for index, one in entries:
        names = set(_names(one))
        chosen.update({place: index for place, node in enumerate(nodes) if node.name in names})
    return chosen


def _between(nodes: tuple[NodeFact, ...], one: LayerConfig) -> set[int]:
    """The places of the nodes of a part of the graph: behind its start and before its end."""
    if not one.start_tensor_names or not one.end_tensor_names:
        return set()
    below, above = set(one.start_tensor_names), set(one.end_tensor_names)
    every = range(len(nodes))
    after, before = set(every if EVERY in below else ()), set(every if EVERY in above else ())
    for place, node in enumerate(nodes):
        if below.intersection(node.inputs):
            after.add(place)
            below.update(node.outputs)
    for place in reversed(every):
        if above.intersection(nodes[place].outputs):
            before.add(place)
            above.update(nodes[place].inputs)
    return after & before


def _named(config: BuildConfig) -> Iterator[tuple[At, str]]:
    """Every layer that an entry names, with the path of the name."""
    for index, one in enumerate(config.quant.layer_configs):
        if one.layer_name:
            yield (*_LISTS, index, "layer_name"), one.layer_name
        for place, name in enumerate(one.layer_names):
            yield (*_LISTS, index, "layer_names", place), name


def _names(one: LayerConfig) -> tuple[str, ...]:
    return ((one.layer_name,) if one.layer_name else ()) + one.layer_names


def _types(one: LayerConfig) -> tuple[str, ...]:
    return ((one.op_type,) if one.op_type else ()) + one.op_types


def _instead(refused: Iterable[str]) -> str:
    return "Conv takes output_data_type FP32 instead" if "Conv" in refused else _FP32_ABLE


RULES = (layer_selectors, layers_once, float_operators, convolutions_only)
MODEL_RULES = (
    layers_are_nodes,
    subgraphs_are_tensors,
    types_are_there,
    float_layers,
    convolution_layers,
    wide_concats,
)
