"""Pictures as texts in an alphabet that is learned from them, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from mmgraph.encoders.frozen import Frozen, digest_of_state
from mmgraph.encoders.image import Pixels
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.functional.quantise import code_perplexity, moving_codebook, quantise, revive_codes
from mmgraph.schema import Identity, Modality

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from PIL.Image import Image

STRIDE = 4  # pixels of a picture's side that one code stands for
FIRST = 2  # number of the first code; 0 is the begin of a text and 1 its end
_BATCH, _ROWS = 128, 1024  # pictures of a training step, and those that pass the network at once
_RATE, _BETA, _DECAY = 2e-3, 0.25, 0.98
_LEAST = 0.05  # of its even share of a batch: below, a code is dead


class Codes(Frozen["bytes | Path | Image | np.ndarray", Tensor]):
    r"""Pictures to numbers of codes, ``[pictures, (size / 4)²]`` of int64, and back: a VQ-VAE.

    A small convolutional network gives each square of four by four pixels a vector (it sees some of those around it,
    too), for which the nearest of a codebook is put; a second network makes the picture from the codes. Both and the
    codebook are trained to make

    .. math:: \frac{\|x - \hat x\|^2}{\mathrm{var}(x)} + \beta \|z - \mathrm{sg}[e]\|^2

    small, means over values, where the codes are moving means of the vectors that take them, and one that hardly any
    vector takes starts anew from one of them.

    The numbers are those of a text: codes are from 2 on, row by row from the upper left, and every picture has equally
    many, so **there is no end**: as a text that is cut off at its ``length``. That is what
    :class:`~mmgraph.decoders.TextDecoder` learns and draws with ``attribute="codes"``, ``vocabulary=len(codes.pieces)``
    and ``length=codes.shape[0]``.

    Source: van den Oord, Vinyals & Kavukcuoglu 2017, Neural discrete representation learning, arXiv:1711.00937; dead
    codes as in Dhariwal et al. 2020, Jukebox, arXiv:2005.00341.

    Args:
        state: What was fitted: use :meth:`fit`, or :meth:`restore` what :meth:`state` gave.
        size: Side of the square that a picture is fitted into, in pixels, a multiple of 4.
        colours: 3 for red, green and blue, 1 for grey.
        codes: How many codes there are.
        channels: Width of a code's vector.
        hidden: Channels of the networks.
        epochs: How often the pictures are gone through.
        seed: Of the weights, the order of the pictures and the codes that start anew.

    Attributes:
        pieces: The name of each number, ``("", "", "code 0", …)``: 0 and 1 are no code.
        error: Mean squared error of the pictures that it was fitted on, white being 1 and black 0.
        perplexity: How many codes those pictures use: as many as there are if they use all equally often.

    Raises:
        ConfigError: An option out of its range.
        ArtifactError: The state is not of these options.

    Example:
        >>> import numpy as np
        >>> pictures = [np.full((8, 8), 255 * (number % 2), dtype=np.uint8) for number in range(4)]
        >>> codes = Codes.fit(pictures, size=8, codes=4, hidden=8, epochs=60)
        >>> numbers = codes(pictures)
        >>> numbers.shape, codes.pieces[int(numbers[0, 0])].startswith("code ")
        (torch.Size([4, 4]), True)
        >>> codes.decode(numbers).float().mean(dim=(1, 2, 3)).lt(128).tolist()
        [True, False, True, False]
    """

    modality = Modality.IMAGE
    attribute = "codes"
    dtype = torch.int64

    def __init__(
        self,
        state: Mapping[str, Tensor],
        *,
        size: int = 28,
        colours: Literal[1, 3] = 1,
        codes: int = 64,
        channels: int = 16,
        hidden: int = 32,
        epochs: int = 20,
        seed: int = 0,
    ) -> None:
        options = {
            "size": size,
            "colours": colours,
            "codes": codes,
            "channels": channels,
            "hidden": hidden,
            "epochs": epochs,
            "seed": seed,
        }
        _check_options(**options)
        self._pixels = Pixels(size, colours=colours)
        with torch.device("meta"):  # nothing is drawn
            networks = _Networks(colours, codes, channels, hidden)
        self._networks = networks.to_empty(device="cpu")
        try:
            self._networks.load_state_dict(dict(state))
        except (RuntimeError, AttributeError) as error:
            raise ArtifactError(f"The state must be of {options}, but {error}; fit it anew") from None
        self._networks.eval().requires_grad_(False)
        self._side = size // STRIDE
        self.shape = (self._side**2,)
        self.pieces: tuple[str, ...] = ("",) * FIRST + tuple(f"code {number}" for number in range(codes))
        self.error = float(self._networks.error)
        self.perplexity = float(code_perplexity(self._networks.counts))
        self.identity = Identity(name="codes", revision=digest_of_state(state), options=options)

    @classmethod
    def fit(
        cls,
        pictures: Iterable[bytes | Path | Image | np.ndarray],
        *,
        size: int = 28,
        colours: Literal[1, 3] = 1,
        codes: int = 64,
        channels: int = 16,
        hidden: int = 32,
        epochs: int = 20,
        seed: int = 0,
    ) -> Self:
        """Learns the codes of the distinct ones of some pictures: those of the training samples alone.

        The same pictures, options and seed give the same codes; torch's own random state is left as it is.

        Raises:
            DataError: There is no picture, or something else among them.
            ConfigError: An option is out of its range.
        """
        _check_options(size, colours, codes, channels, hidden, epochs, seed)
        pixels = _distinct(pictures, Pixels(size, colours=colours))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            networks = _Networks(colours, codes, channels, hidden)
        _train(networks, pixels, epochs, Generator().manual_seed(seed))
        return cls(
            networks.state_dict(),
            size=size,
            colours=colours,
            codes=codes,
            channels=channels,
            hidden=hidden,
            epochs=epochs,
            seed=seed,
        )

    @classmethod
    def restore(cls, options: Mapping[str, Any], state: Mapping[str, Tensor]) -> Self:
        """The encoder of some options and of what was fitted with them."""
        return cls(state, **options)

    def state(self) -> dict[str, Tensor]:
        """The weights of both networks, the codebook, and what was found while fitting."""
        return dict(self._networks.state_dict())

    def content(self, payload: bytes | Path | Image | np.ndarray) -> bytes:
        """The bytes of the file, or the colours of what is decoded."""
        return self._pixels.content(payload)

    def prepare(self, payload: bytes | Path | Image | np.ndarray) -> Tensor:
        """The picture in its square: ``[colours, size, size]`` of uint8."""
        return self._pixels.prepare(payload)

    def encode(self, prepared: list[Tensor]) -> Tensor:
        """The numbers of the codes: ``[pictures, codes of a picture]``."""
        return self.encode_pixels(torch.stack(prepared))

    @torch.no_grad()
    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """The numbers of the codes of squares ``[pictures, colours, size, size]`` of uint8."""
        found = [self._networks.numbers(some) for some in pixels.split(_ROWS)]
        return torch.cat(found) + FIRST if found else torch.empty(0, *self.shape, dtype=torch.int64)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """The pictures that codes stand for.

        Args:
            codes: ``[rows, codes of a picture]``; for 0 and 1, which are no code, the most frequent one is taken.

        Returns:
            ``[rows, colours, size, size]`` of uint8.

        Raises:
            DataError: A row is of another length, or a number is not in the alphabet.
        """
        if codes.dim() != 2 or codes.shape[1] != self.shape[0] or codes.is_floating_point():
            raise DataError(
                f"codes must be [rows, {self.shape[0]}] whole numbers, got {list(codes.shape)} of {codes.dtype}"
            )
        if codes.numel() and not (int(codes.min()) >= 0 and int(codes.max()) < len(self.pieces)):
            raise DataError(
                f"codes must be from 0 to {len(self.pieces) - 1}, got {int(codes.min())} to {int(codes.max())}; decode "
                "them by the encoder that made them"
            )
        device, codes = codes.device, codes.cpu()
        usual = self._networks.counts.argmax()
        numbers = torch.where(codes < FIRST, usual, codes - FIRST)
        grids = numbers.unflatten(1, (self._side, self._side))
        made = [self._networks.picture(self._networks.codebook[some]) for some in grids.split(_ROWS)]
        levels = torch.cat(made) if made else torch.empty(0, *self._pixels.shape)
        return ((levels + 1) * 127.5).round().clamp(0, 255).to(device, torch.uint8)


class _Residual(nn.Module):
    """A block that adds to what it is given."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.steps = nn.Sequential(nn.ReLU(), nn.Conv2d(hidden, hidden, 3, padding=1), nn.ReLU())
        self.out = nn.Conv2d(hidden, hidden, 1)

    def forward(self, states: Tensor) -> Tensor:
        return states + self.out(self.steps(states))


class _Networks(nn.Module):
    """From pixels to vectors and from codes to pixels, with the codebook between them."""

    codebook: Tensor
    counts: Tensor
    error: Tensor

    def __init__(self, colours: int, codes: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.into = nn.Sequential(
            nn.Conv2d(colours, hidden, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 4, stride=2, padding=1),
            _Residual(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1),
        )
        self.back = nn.Sequential(
            nn.Conv2d(channels, hidden, 3, padding=1),
            _Residual(hidden),
            nn.ReLU(),
            nn.ConvTranspose2d(hidden, hidden, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(hidden, colours, 4, stride=2, padding=1),
        )
        self.register_buffer("codebook", torch.zeros(codes, channels))
        self.register_buffer("counts", torch.zeros(codes))  # how often each is taken by the pictures fitted on
        self.register_buffer("error", torch.zeros(()))

    def vectors(self, levels: Tensor) -> Tensor:
        """``[rows, side, side, channels]`` of levels from -1 to 1."""
        found: Tensor = self.into(levels).permute(0, 2, 3, 1)
        return found

    def picture(self, vectors: Tensor) -> Tensor:
        """Levels ``[rows, colours, size, size]`` of vectors ``[rows, side, side, channels]``."""
        found: Tensor = self.back(vectors.permute(0, 3, 1, 2))
        return found

    def numbers(self, pixels: Tensor) -> Tensor:
        """Codes from 0 on, ``[rows, side²]``."""
        vectors = self.vectors(_levels(pixels))
        return quantise(vectors.flatten(0, 2), self.codebook).codes.view(len(pixels), -1)


def _train(networks: _Networks, pixels: Tensor, epochs: int, generator: Generator) -> None:
    """Trains in place."""
    variance = _levels(pixels).var(correction=0).clamp_min(1e-6)
    steps = epochs * -(-len(pixels) // _BATCH)
    optimiser = torch.optim.AdamW(networks.parameters(), lr=_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
    num_codes, channels = networks.codebook.shape
    counts, sums = torch.zeros(num_codes), torch.zeros(num_codes, channels)  # all dead: they start from vectors
    with torch.enable_grad():
        for _ in range(epochs):
            for rows in torch.randperm(len(pixels), generator=generator).split(_BATCH):
                levels = _levels(pixels[rows])
                vectors = networks.vectors(levels)
                flat = vectors.flatten(0, 2)
                least = _LEAST * len(flat) / num_codes
                counts, sums, _ = revive_codes(counts, sums, flat, least=least, generator=generator)
                found = quantise(flat, sums / counts[:, None])
                made = networks.picture(found.values.view_as(vectors))
                commitment = found.terms["commitment"].mean() / channels
                loss = F.mse_loss(made, levels) / variance + _BETA * commitment
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                networks.codebook, counts, sums = moving_codebook(counts, sums, flat, found.codes, decay=_DECAY)
    with torch.no_grad():
        networks.counts, squares = torch.zeros(num_codes), torch.zeros((), dtype=torch.float64)
        for some in pixels.split(_ROWS):
            numbers = networks.numbers(some)
            networks.counts += torch.bincount(numbers.flatten(), minlength=num_codes)
            side = some.shape[2] // STRIDE
            made = networks.picture(networks.codebook[numbers.unflatten(1, (side, side))]).clamp(-1, 1)
            squares += (made - _levels(some)).square().sum().double()
        networks.error = (squares / pixels.numel() / 4).float()  # levels are two apart where white and black are one


def _levels(pixels: Tensor) -> Tensor:
    return pixels.float() / 127.5 - 1


def _distinct(pictures: Iterable[Any], pixels: Pixels) -> Tensor:
    """The distinct ones, ``[pictures, colours, size, size]`` of uint8."""
    if isinstance(pictures, str | bytes):
        raise DataError(f"pictures must be a sequence of pictures, got one {type(pictures).__name__}; wrap it in []")
    found: dict[bytes, Tensor] = {}
    for picture in pictures:
        key = hashlib.sha256(pixels.content(picture)).digest()
        if key not in found:
            found[key] = pixels.prepare(picture)
    if not found:
        raise DataError("Codes must be fitted on at least 1 picture, got none")
    return torch.stack(list(found.values()))


def _check_options(size: int, colours: int, codes: int, channels: int, hidden: int, epochs: int, seed: int) -> None:
    if size < STRIDE or size % STRIDE or colours not in (1, 3):
        raise ConfigError(f"size must be a multiple of {STRIDE} and colours 1 or 3, got {size} and {colours}")
    if min(codes, channels, hidden, epochs) < 1 or seed < 0:
        raise ConfigError(
            "codes, channels, hidden and epochs must be at least 1 and seed at least 0, "
            f"got {codes}, {channels}, {hidden}, {epochs} and {seed}"
        )
