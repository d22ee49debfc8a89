"""The value: normal forms, keys, dates."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from envs import EnvError, EnvSpec
from envs.spec import (
    hash_folder,
    key_of,
    normalize_name,
    normalize_requirement,
    requirement_name,
)


@pytest.mark.parametrize(
    ("line", "normal"),
    [
        ("Scikit_Learn == 1.0", "scikit-learn==1.0"),
        ("a[Y, x]>=1 , <2", "a[x,y]<2,>=1"),
        ("a (>=1.0)", "a>=1.0"),
        ('a>=1;python_version<"3.8"', 'a>=1 ; python_version<"3.8"'),
        ("a", "a"),
        ("a @ https://host/a.whl", "a @ https://host/a.whl"),
        ("a==1   --hash=sha256:00", "a==1 --hash=sha256:00"),
    ],
)
def test_lines_that_mean_the_same_have_one_normal_form(line: str, normal: str) -> None:
    assert normalize_requirement(line) == normal


names = st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,8}[A-Za-z0-9]", fullmatch=True)
clauses = st.builds(
    lambda op, number: f"{op}{number}",
    st.sampled_from(["==", ">=", "<", "!=", "~="]),
    st.sampled_from(["1.0", "2.3.1", "10.0rc1"]),
)


@given(names, st.lists(names, max_size=2), st.lists(clauses, max_size=3))
def test_the_normal_form_means_what_the_line_means(
    name: str, extras: list[str], versions: list[str]
) -> None:
    line = name + (f"[{','.join(extras)}]" if extras else "") + " " + ", ".join(versions)
    before, after = Requirement(line), Requirement(normalize_requirement(line))
    assert after.specifier == before.specifier
    assert {normalize_name(e) for e in after.extras} == {normalize_name(e) for e in before.extras}
    assert after.name == normalize_name(before.name) == requirement_name(line)
    assert normalize_requirement(str(before)) == normalize_requirement(line)


def test_a_key_does_not_depend_on_the_order_of_fields_but_on_every_value() -> None:
    assert key_of({"a": 1, "b": [1, 2]}) == key_of({"b": [1, 2], "a": 1})
    assert key_of({"a": 1, "b": [1, 2]}) != key_of({"a": 1, "b": [2, 1]})


def test_auto_counts_uploads_up_to_the_end_of_the_day_after_the_model_was_logged() -> None:
    logged = datetime(2020, 9, 1, 23, 59, 59)
    spec = EnvSpec(logged_at=logged)
    assert spec.upload_bound() == datetime(2020, 9, 3, tzinfo=timezone.utc)
    assert spec.upload_bound() == EnvSpec(logged_at=logged.replace(hour=0)).upload_bound()


def test_a_moment_with_a_time_zone_is_taken_as_the_day_in_utc() -> None:
    east = timezone(timedelta(hours=9))
    spec = EnvSpec(logged_at=datetime(2020, 9, 1, 3, tzinfo=east))
    assert str(spec.resolution_date()) == "2020-08-31"


def test_a_date_counts_to_its_own_end_and_today_has_no_bound() -> None:
    logged = datetime(2020, 9, 1)
    dated = EnvSpec(logged_at=logged, as_of="2021-02-03")
    assert dated.upload_bound() == datetime(2021, 2, 4, tzinfo=timezone.utc)
    assert EnvSpec(logged_at=logged, as_of="today").upload_bound() is None
    assert EnvSpec().upload_bound() is None


def test_what_is_no_day_is_refused() -> None:
    with pytest.raises(EnvError, match="Cannot resolve as of 'yesterday'"):
        EnvSpec(as_of="yesterday")


def test_a_folder_hash_sees_contents_and_names_but_not_bytecode(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    first = hash_folder(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("x")
    assert hash_folder(tmp_path) == first
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert hash_folder(tmp_path) != first
