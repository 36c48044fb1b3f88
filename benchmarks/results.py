"""Carries out every recipe in full, and writes docs/results.json, docs/results.md and docs/picture.svg.

Command: make results. Recipes that are finished are not run again: their runs are kept in runs/results.
`python benchmarks/results.py park2019_cnn_fsdd` runs some anew (a recipe, or the folder of one run), and keeps what
the pages say of the others.
"""

import fnmatch
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from picture import draw
from rich.console import Console

from mmgraph.errors import DataError
from mmgraph.files import read_json, write_bytes, write_json
from mmgraph.recipe import load_recipe
from mmgraph.run import Run
from mmgraph.train import Results

ROOT = Path(__file__).parents[1]
SHOWN = (
    "accuracy",
    "f1",
    "f1_macro",
    "auroc",
    "log_loss",
    "recall@1",
    "recall@10",
    "class_map",
    "class_precision@1",
    "zero_shot_accuracy",
    "mrr",
    "hits@1",
    "hits@3",
    "hits@10",
)
GROUPS = r" (head|tail|[1n]-[1n]|with .*|without .*)$"  # of questions about a knowledge graph
START, END = "<!-- results -->", "<!-- /results -->"
WANTED: Sequence[tuple[str, dict[str, Any]]] = (
    ("population_wdbc", {}),
    ("kipf2017_gcn_cora", {}),
    ("li2016_ggnn_cora", {}),
    ("gasteiger2019_appnp_rosmap", {}),
    ("gasteiger2019_appnp_rosmap", {"shipped": True}),
    ("wang2021_mogonet_rosmap", {}),
    ("parisot2018_population_rosmap", {}),
    ("lanckriet2004_mkl_rosmap", {}),
    ("singh2019_diablo_tcga_breast", {}),
    ("hamilton2017_sage_glyphs", {}),
    ("glyphs_fusion", {}),
    ("gated_star_avdigits", {}),
    ("gated_star_avdigits", {"noise": 1.5}),
    ("poklukar2022_gmc_avdigits", {}),
    ("ngiam2011_bimodal_autoencoder_avdigits", {}),
    ("easy_vqa", {}),
    ("zadeh2017_tfn_mosi", {}),
    ("liu2018_lmf_mosi", {}),
    ("tsai2019_mult_mosi", {}),
    ("ghosal2019_dialogue_mosi", {}),
    ("rajagopalan2016_mvlstm", {}),
    ("lecun1998_cnn_mnist20k", {}),
    ("park2019_cnn_fsdd", {}),
    ("park2019_cnn_fsdd", {"official": True, "runs": 3, "folds": 1}),
    ("baevski2022_data2vec_graph", {}),
    ("patrick2021_gdt_fsdd", {}),
    ("patrick2021_gdt_fsdd", {"asked": "digit"}),
    ("asano2020_labelling_avdigits", {}),
    ("radford2021_clip_glyphs", {}),
    ("radford2021_clip_glyphs", {"split": "block"}),
    ("radford2021_clip_emoji", {}),
    ("radford2021_clip_emoji", {"graph": True}),
    ("clip_avdigits", {}),
    ("alayrac2020_mmv_avdigits", {}),
    ("han2020_coclr_avdigits", {}),
    ("frome2013_devise_emoji", {}),
    ("wang2016_structure_preserving_wikipedia", {}),
    ("andrew2013_dcca_wikipedia", {}),
    ("coco_mini_scene_graphs", {}),
    ("subgraph_search_cora", {}),
    ("grover2016_node2vec_cora", {}),
    ("wang2019_han_acm", {}),
    ("hu2020_hgt_acm", {}),
    ("wang2018_gcn_align_dbp15k", {}),
    ("pathquestion", {}),
    ("pathquestion", {"split": "path"}),
    ("expla_graphs", {}),
    ("trouillon2016_complex_codex_s", {}),
    ("trouillon2016_complex_codex_s", {"symmetric": True}),
    ("trouillon2016_complex_codex_s", {"symmetric": True, "types": True}),
    ("bordes2013_transe_codex_s", {}),
    ("balazevic2019_tucker_codex_s", {}),
    ("lacroix2018_n3_kgs", {}),
    ("lacroix2018_n3_kgs", {"graph": "kinship"}),
    ("lacroix2018_n3_kgs", {"graph": "nations"}),
    ("schlichtkrull2018_rgcn_umls", {}),
    ("vashishth2020_compgcn_umls", {}),
    ("text_umls", {}),
    ("literals_nations", {}),
    ("emoji_graph", {}),
    ("glyphs_graph", {}),
    ("glyph_names", {}),
    ("vinyals2015_show_tell_emoji", {}),
    ("mokady2021_clipcap_emoji", {}),
    ("aligned_captioner_emoji", {}),
    ("caption_coco_mini", {}),
    ("cornia2020_m2_coco_mini", {}),
    ("text_to_graph_codex", {}),
    ("alayrac2022_flamingo_avdigits", {}),
    ("zeng2022_socratic_avdigits", {}),
    ("glyph_pictures", {}),
    ("ramesh2021_dalle_digits", {}),
    ("nichol2021_glide_digits", {}),
    ("ngiam2011_audio_from_image_avdigits", {}),
)


def main() -> None:
    console = Console(stderr=True)
    entries: list[dict[str, Any]] = []
    pages, odd = [], []
    kept = read_json(ROOT / "docs" / "results.json")
    sections = kept_sections((ROOT / "docs" / "results.md").read_text())
    for name, options in WANTED:
        recipe = load_recipe(name)
        label = "-".join([name, *(key if value is True else f"{key}-{value}" for key, value in options.items())])
        command = " ".join(["mmgraph run", name, *(_flag(*option) for option in options.items())])
        if sys.argv[1:] and not {name, label} & set(sys.argv[1:]):
            entries += [one for one in kept if one["command"] == command]
            pages += [sections[command]] if command in sections else []
            continue
        console.print(label)
        try:
            config = replace(recipe.config({}), **options)
            run = Run.execute(recipe, config, ROOT / "runs" / "results" / label, progress=console.is_terminal)
        except DataError as error:
            console.print(f"left out: {error}")
            continue
        entries += [entry(run, metric, command) for metric in run.results.metrics if not re.search(GROUPS, metric)]
        if not options:
            odd += unexpected(run)
        pages.append(section(run, command, easy=bool({"shipped", "official"} & set(options))))
    write_json(ROOT / "docs" / "results.json", entries)
    write_bytes(ROOT / "docs" / "results.md", (HEAD + "\n".join(pages)).encode())
    write_bytes(ROOT / "docs" / "picture.svg", draw(entries).encode())
    readme = (ROOT / "README.md").read_text()
    before, rest = readme.split(START)
    write_bytes(ROOT / "README.md", f"{before}{START}\n{table(entries)}{END}{rest.split(END)[1]}".encode())
    if odd:
        sys.exit("\n".join(odd))


ANSWERS = {"no graph": "no_graph", "one modality less": "without:*", "better of two linear": "*_linear"}
LINKED = {"no messages": "no_graph", "a payload shuffled": "shuffled:*", "by frequency": "frequency"}
MADE = {
    "no source": "no_source",
    "another's sources": "shuffled_sources",
    "nearest in training": "nearest",
    "mean": "mean",
    "most common": "most_common",
}
ALIGNED = {"no graph": "no_graph", "noise for features": "noise", "CCA": "cca", "chance": "chance"}


def kept_sections(page: str) -> dict[str, str]:
    """Command → what a page of results says of it."""
    parts = [f"## {part}" for part in page.split("\n## ")[1:]]
    return {part.split("`")[1]: part.rstrip("\n") + "\n" for part in parts}


def _flag(option: str, value: object) -> str:
    return f"--{option}" if value is True else f"--{option} {value}"


def unexpected(run: Run) -> list[str]:
    """The scores that are not what the recipe expects."""
    found = []
    for metric, (expected, tolerance) in run.recipe.module.EXPECT.items():
        if abs(run.results.mean("full", metric) - expected) > tolerance:
            got = run.results.mean("full", metric)
            found.append(f"{run.recipe.name}: {metric} must be {expected} ± {tolerance}, got {got:.4f}")
    return found


def table(entries: Sequence[Mapping[str, Any]]) -> str:
    """The tables of the README: the metric of each recipe's verdict, beside its controls and what is published."""
    asked = [one for one in entries if one["metric"] == load_recipe(one["recipe"]).module.METRIC]
    aligned = [one for one in asked if "noise" in one["controls"]]
    linked = [one for one in asked if "frequency" in one["controls"]]
    made = [one for one in asked if "shuffled_sources" in one["controls"]]
    answers = [one for one in asked if one not in [*aligned, *linked, *made]]
    tables = ((answers, ANSWERS), (aligned, ALIGNED), (linked, LINKED), (made, MADE))
    return "\n".join(_table(found, controls) for found, controls in tables if found)


def _table(entries: Sequence[Mapping[str, Any]], controls_shown: Mapping[str, str]) -> str:
    heads = ["recipe", "metric", "full model", *controls_shown, "published, own split"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for one in entries:
        command = one["command"].removeprefix("mmgraph run ")
        controls = one["controls"]
        known = ", ".join(f"{item['value']:.3f}" for item in one["published"])
        cells = [f"`{command}`", one["metric"], f"**{one['mean']:.3f}** ± {one['std']:.3f}"]
        for pattern in controls_shown.values():
            found = [controls[name]["mean"] for name in fnmatch.filter(controls, pattern)]
            cells.append(f"{max(found):.3f}" if found else "")
        lines.append(f"| {' | '.join([*cells, known])} |")
    return "\n".join(lines) + "\n"


def entry(run: Run, metric: str, command: str) -> dict[str, Any]:
    results = run.results
    return {
        "recipe": run.recipe.name,
        "data": run.recipe.module.DATA,
        "metric": metric,
        "mean": round(results.mean("full", metric), 8),
        "std": round(results.std("full", metric), 8),
        "runs": results.runs,
        "controls": {
            name: {"mean": round(results.mean(name, metric), 8), "std": round(results.std(name, metric), 8)}
            for name in results.variants
            if name != "full" and not math.isnan(results.mean(name, metric))
        },
        "published": [
            {"source": item["source"], "value": item["value"]}
            for item in run.recipe.published
            if item["metric"] == metric
        ],
        "command": command,
        "seconds": run.facts["seconds"],
        "commit": run.facts["commit"],
    }


def section(run: Run, command: str, *, easy: bool) -> str:
    results = run.results
    wanted = dict.fromkeys((*SHOWN, run.recipe.module.METRIC, *run.recipe.module.EXPECT))
    shown = [name for name in wanted if name in results.metrics]
    lines = [
        f"## {command.removeprefix('mmgraph run ')}{' (an easy split)' if easy else ''}",
        "",
        f"{run.recipe.title} `{command}`, {results.runs} {'resplits' if results.resplit else 'seeds'}.",
        "",
        f"| variant | {' | '.join(shown)} | lead in {results.metric} (95 %) | p |",
        f"|---|{'---|' * len(shown)}---|---|",
    ]
    for row in results.rows(shown):
        found = [row[name] for name in shown]
        scores = ["" if math.isnan(mean) else f"{mean:.3f} ± {std:.3f}" for mean, std in found]
        gap = row["difference"]
        lead = ["", ""] if gap is None else [f"{gap.mean:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})", f"{gap.p:.3f}"]
        if gap is not None and math.isnan(gap.p):  # one run has no interval
            lead = [f"{gap.mean:+.3f}", ""]
        lines.append(f"| {' | '.join([row['variant'], *scores, *lead])} |")
    for item in run.recipe.published:
        cells = [f"{item['value']:.3f}" if name == item["metric"] else "" for name in shown]
        lines.append(f"| *published:* {item['source']} | {' | '.join(cells)} | | |")
    lines += [*by_group(results), "", f"{results.verdict()} ({run.facts['seconds']:.0f} s)", ""]
    return "\n".join(lines)


def by_group(results: Results) -> list[str]:
    """The main metric for each group of what is asked, if there are groups."""
    groups = results.groups
    if not groups:
        return []
    lines = ["", f"| {results.metric} by what is asked | {' | '.join(groups)} |", "|---" * (1 + len(groups)) + "|"]
    for variant in results.variants:
        means = [results.mean(variant, f"{results.metric} {group}") for group in groups]
        lines.append(f"| {' | '.join([variant, *('' if math.isnan(mean) else f'{mean:.3f}' for mean in means)])} |")
    return lines


HEAD = """# Results

Made by `make results`. Mean ± standard deviation over the runs; *lead* is the full model minus the row, paired by run
(positive: the full model is better), with its 95 % interval, corrected for the overlap of resplits (Nadeau and Bengio
2003). Everything is chosen on validation; the test part is looked at once a run. Published scores are on the authors'
own split and protocol.

"""


if __name__ == "__main__":
    main()
