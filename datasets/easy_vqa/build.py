"""easy-VQA: questions about pictures of one coloured shape."""

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from mmgraph import GraphConfig, Source

SIZES = {"train": 4000, "test": 1000}


def build(files: Mapping[str, Path], *, pictures: int = 5000) -> Source:
    """The questions about the first pictures.

    Args:
        files: The pictures, the questions and the list of answers.
        pictures: How many; four fifths of the training part, the others of the test part.
    """
    if not 10 <= pictures <= sum(SIZES.values()):
        raise ValueError(f"pictures must be between 10 and {sum(SIZES.values())}, got {pictures}")
    by_name = {"/".join(path.parts[-2:]): path for path in files.values()}
    root = by_name["data/answers.txt"].parent
    kept = {"test": pictures // 5, "train": pictures - pictures // 5}
    questions, shown = [], []
    for part, count in kept.items():
        shown += [{"picture": f"{part}-{one}", "image": f"{part}/images/{one}.png"} for one in range(count)]
        asked = json.loads(by_name[f"{part}/questions.json"].read_text(encoding="utf-8"))
        for row, (question, answer, one) in enumerate(asked):
            if one < count:
                said = "val" if part == "train" and one % 10 == 9 else part
                about = {"question": f"{part}-{row}", "text": question, "answer": answer}
                questions.append({**about, "picture": f"{part}-{one}", "part": said})
    config = GraphConfig(
        name="easy_vqa",
        anchor="question",
        nodes={
            "question": {"table": "questions", "key": "question", "columns": {"text": "text"}},
            "picture": {"table": "pictures", "key": "picture", "columns": {"image": "image"}},
        },
        edges=[{"type": ("question", "asks_about", "picture"), "column": "picture", "inverse": "asked_by"}],
        targets={
            "answer": {
                "column": "answer",
                "kind": "multiclass",
                "classes": sorted(by_name["data/answers.txt"].read_text(encoding="utf-8").split()),
            }
        },
        split={"by": "column", "column": "part"},
    )
    tables = {"questions": pa.Table.from_pylist(questions), "pictures": pa.Table.from_pylist(shown)}
    return Source(config, tables=tables, root=root)
