"""Published weights of Patch2Pix: the names and settings in ``patch2pix_pretrained.pth``."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from patchmatch.core.errors import InputError
from patchmatch.core.weights import read_weights_file
from patchmatch.pairs.patch2pix.backbone import torchvision_names
from patchmatch.pairs.patch2pix.consensus import consensus_weights
from patchmatch.pairs.patch2pix.paper_net import PATCH, PaperNet

OPTION = "--model.weights"
BACKBONE = "ResNet34"
# Settings of the regressors that the shapes of the tensors do not show.
REGRESSOR = {"psize": [PATCH, PATCH], "feat_comb": "pre", "conv_strs": [2, 1]}
LEVELS = [0, 1, 2, 3]  # the image and three stages of the backbone
# Parts of the published network, and their names here.
PARTS = {"regress_mid.": "mid.", "regress_fine.": "fine."}
LAYERS = {"conv.": "convolutions.", "fc.": "layers."}
# The settings are a namespace; the record of the best validation holds numbers of numpy.
_SCALAR = np.float64(0).__reduce__()[0]
_ARRAY = np.zeros(0).__reduce__()[0]
ALLOWED = (
    Namespace,
    np.ndarray,
    np.dtype,
    type(np.dtype(np.float64)),
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((_ARRAY, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
)


def load_published(net: PaperNet, path: str, regressors: bool = True) -> None:
    """Load published weights of Patch2Pix, or those of NCNet that its training starts from.

    Args:
        net: The network to change.
        path: ``patch2pix_pretrained.pth``, or a state_dict of its backbone and consensus layers.
        regressors: Whether the regressors must be among the weights.

    Raises:
        InputError: If the file is missing or damaged, or of another network or other settings.
    """
    advice = f"give patch2pix_pretrained.pth as {OPTION}"
    content = read_weights_file(path, advice, ALLOWED)
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: contains no state_dict; {advice}")
    _check_settings(path, content, net, advice)
    found = published_names(content.get("state_dict", content))
    expected = net.state_dict()
    if not regressors and not any(name.startswith(tuple(PARTS.values())) for name in found):
        expected = {k: v for k, v in expected.items() if not k.startswith(tuple(PARTS.values()))}
    wrong = sorted(
        name
        for name in found.keys() | expected.keys()
        if _shape(found.get(name)) != _shape(expected.get(name))
    )
    if wrong:
        name = wrong[0]
        raise InputError(
            f"{path}: not the weights of Patch2Pix with ResNet-34; {name}: expected shape "
            f"{_shape(expected.get(name)) or 'none'}, got {_shape(found.get(name)) or 'none'}; "
            f"{advice}"
        )
    net.load_state_dict(found, strict=False)


def published_names(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return published weights with the names of ``PaperNet``, without the unused fourth stage.

    Args:
        weights: State_dict with ``extract.*`` (ResNet-34), ``ncn.conv.*`` (consensus layers),
            ``regress_mid.*`` and ``regress_fine.*``. Other names are kept.
    """
    resnet, named = {}, {}
    for key, value in weights.items():
        part = next((part for part in PARTS if key.startswith(part)), None)
        if key.startswith("extract."):
            resnet[key.removeprefix("extract.")] = value
        elif part is not None:
            layer, _, rest = key.removeprefix(part).partition(".")
            named[f"{PARTS[part]}{LAYERS.get(f'{layer}.', f'{layer}.')}{rest}"] = value
        elif not key.startswith("ncn."):
            named[key] = value
    named |= {f"backbone.net.{k}": v for k, v in torchvision_names(resnet).items()}
    return named | {f"consensus.{k}": v for k, v in consensus_weights(weights).items()}


def _check_settings(path: str, content: Mapping[str, Any], net: PaperNet, advice: str) -> None:
    """Raise InputError if the settings that a checkpoint stores are not those of the network."""
    regressor = content.get("regressor_config")
    expected: dict[str, Any] = {"backbone": BACKBONE, "feat_idx": LEVELS}
    stored = {name: content[name] for name in expected if content.get(name) is not None}
    if regressor is not None:
        expected |= REGRESSOR
        stored |= {name: getattr(regressor, name, expected[name]) for name in REGRESSOR}
    if content.get("change_stride") is not None:
        expected["change_stride"] = net.stride == 8
        stored["change_stride"] = bool(content["change_stride"])
    for name, value in stored.items():
        value = list(value) if isinstance(value, tuple) else value
        if value != expected[name]:
            raise InputError(
                f"{path}: its {name} is {value}, and that of the network {expected[name]}; "
                + ("give the same --model.change_stride" if name == "change_stride" else advice)
            )


def _shape(value: Any) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, Tensor) else None
