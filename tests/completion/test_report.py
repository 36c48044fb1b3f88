import json
import math

from mmgraph.completion import CompletionReport


def report(**error):
    return CompletionReport(
        "sound", "sound_generated", "mel", True, ("photo",), 9, 3, 2, 2, 6, error, {"photo": 1.0}, {"seed": 0}
    )


def test_facts_are_json_and_errors_are_compared_with_the_mean():
    found = report(generated=1.0, mean=4.0, nearest=6.0).facts()
    assert found["over_mean"] == {"generated": 0.25, "mean": 1.0, "nearest": 1.5}
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["options"] == {"seed": 0}


def test_where_the_mean_has_no_error_there_is_no_share():
    flat = report(generated=0.0, mean=0.0, nearest=0.0)
    assert math.isnan(flat.over_mean["generated"])
    assert flat.facts()["over_mean"]["generated"] is None
