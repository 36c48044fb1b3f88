"""TCGA breast cancer: three omics of 220 tumours, the shipped training part first; the test part has no proteins."""

import lzma
import struct
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from mmgraph import Records

PARTS = {"train": "data.train", "test": "data.test"}


def build(files: Mapping[str, Path]) -> Records:
    (path,) = files.values()
    data = _RData(lzma.decompress(path.read_bytes())).read()["breast.TCGA"]
    parts = [data[name] for name in PARTS.values()]
    sizes = [len(part["subtype"]) for part in parts]
    modalities, names = {}, {}
    for modality in ("mrna", "mirna", "protein"):
        (_, names[modality]), _ = parts[0][modality]
        absent = [np.full((size, len(names[modality])), np.nan) for size in sizes]
        there = [part[modality][1] if modality in part else lack for part, lack in zip(parts, absent, strict=True)]
        modalities[modality] = np.concatenate(there)
    classes = ["Basal", "Her2", "LumA"]
    return Records(
        ids=[one for part in parts for one in part["mrna"][0][0]],
        modalities=modalities,
        names=names,
        labels=[classes.index(one) for part in parts for one in part["subtype"]],
        classes=classes,
        phenotypes={"part": np.repeat(list(PARTS), sizes)},
        target="subtype",
    )


class _RData:
    """Reads what R saved, as far as this file needs it: named lists, strings, factors and matrices with names."""

    def __init__(self, data: bytes) -> None:
        self.file, self.symbols = BytesIO(data), []
        if (magic := self.file.read(7)) not in (b"RDX2\nX\n", b"RDX3\nX\n"):
            raise ValueError(f"R data must be of version 2 or 3 in XDR, got {magic!r}")
        version, _, _ = (self.integer() for _ in range(3))
        if version == 3:
            self.file.read(self.integer())  # the encoding

    def integer(self) -> int:
        return struct.unpack(">i", self.file.read(4))[0]

    def read(self) -> Any:
        flags = self.integer()
        kind, has_attributes, has_tag = flags & 255, flags & 512, flags & 1024
        if kind == 254:  # nothing: the end of a pair list
            return {}
        if kind == 255:  # a symbol that was there before
            return self.symbols[(flags >> 8) - 1]
        if kind == 1:
            self.symbols.append(self.read())
            return self.symbols[-1]
        if kind == 2 and has_tag and not has_attributes:
            name, value = self.read(), self.read()
            return {name: value} | self.read()
        size = self.integer()
        if kind == 9:
            return self.file.read(size).decode()
        if kind in (13, 14):
            width, form = (4, ">i4") if kind == 13 else (8, ">f8")
            values: Any = np.frombuffer(self.file.read(width * size), form)
        elif kind in (16, 19):
            values = [self.read() for _ in range(size)]
        else:
            raise ValueError(f"R data must hold lists, strings and numbers, got kind {kind}")
        attributes = self.read() if has_attributes else {}
        if "dim" in attributes:
            return attributes["dimnames"], values.reshape(attributes["dim"], order="F")
        if "levels" in attributes:
            return [attributes["levels"][number - 1] for number in values]
        return dict(zip(attributes["names"], values, strict=True)) if "names" in attributes else values
