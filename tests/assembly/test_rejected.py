"""What is set aside: listed once, counted by each reader, bounded, and written."""

import pytest

from mmgraph.assembly import Rejection, TooManyRejectedError
from mmgraph.assembly.rejected import Rejected, read_rejected, write_rejected
from mmgraph.errors import DataError


def test_two_readers_of_a_cell_say_it_once_and_count_it_each():
    rejected = Rejected()
    for _ in range(2):
        part = rejected.part()
        part.count("t", "a", 10)
        part.add("t", 3, "a", "x", "a number is wanted", key="k")
    assert rejected.items == [Rejection("t", 3, "a", "k", "x", "a number is wanted")]
    rejected.check(0.1)
    with pytest.raises(TooManyRejectedError, match=r"At most 9.0% of column 'a' of table 't' .* got 1 of 10: a number"):
        rejected.check(0.09)


def test_a_column_that_two_read_is_not_counted_double():
    rejected = Rejected()
    one, two = rejected.part(), rejected.part()
    one.count("t", "a", 10)
    two.count("t", "a", 10)
    two.add("t", 3, "a", "x", "a number is wanted")
    with pytest.raises(TooManyRejectedError, match="got 1 of 10"):
        rejected.check(0.05)


def test_rows_have_a_share_of_their_own():
    rejected = Rejected()
    rejected.count("t", "", 4)
    rejected.count("t", "a", 1000)
    rejected.add("t", 3, "", None, "too few cells")
    rejected.add("t", 2, "", None, "too few cells")
    rejected.add("t", 1, "", None, "too many cells")
    with pytest.raises(TooManyRejectedError, match="of the rows of table 't' .* got 3 of 4: too few cells") as error:
        rejected.check(0.05)
    assert [one.row for one in error.value.items] == [3, 2, 1]


def test_all_may_be_set_aside_where_that_is_allowed():
    rejected = Rejected()
    rejected.add("t", 3, "a", "x", "no")  # not counted: one of one
    rejected.check(1.0)
    with pytest.raises(TooManyRejectedError, match="got 1 of 1"):
        rejected.check(0.99)


def test_strict_raises_at_the_first_with_its_place():
    part = Rejected(strict=True).part()
    with pytest.raises(DataError, match="Table 't', row 3 \\(k\\), column 'a': no number; mend it"):
        part.add("t", 3, "a", "x", "no number", key="k")
    with pytest.raises(DataError, match="Table 't', row 3: too few cells; mend it"):
        part.add("t", 3, "", None, "too few cells")


def test_the_list_is_written_in_order_and_read_back(tmp_path):
    rejected = Rejected()
    rejected.add("t", 30, "b", b"\0" * 9, "one", key="k\ud800")
    rejected.add("t", 4, "b", "x" * 500, "two")
    rejected.add("t", 5, "a", [1, 2], "three")
    write_rejected(rejected.items, tmp_path / "a.parquet")
    found = read_rejected(tmp_path / "a.parquet")
    assert [(one.column, one.row, one.key, one.value, one.reason) for one in found] == [
        ("a", 5, "", "[1, 2]", "three"),
        ("b", 4, "", "x" * 200, "two"),
        ("b", 30, "k?", "9 bytes", "one"),
    ]
    write_rejected(reversed(rejected.items), tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    write_rejected([], tmp_path / "c.parquet")
    assert read_rejected(tmp_path / "c.parquet") == []
