"""Files of figures: what no reader of TOML can make a number of is a problem of the file, not a defect."""

import pytest

from semcache.costs.toml_tables import read_toml
from semcache.errors import SettingsError


@pytest.mark.parametrize(
    "text", ["x = 1e99999999999999999999", "x = " + "9" * 5000, "x = " + "[" * 3000 + "]" * 3000, "[x", "x = 'a"]
)
def test_what_cannot_be_read_is_told(tmp_path, text):
    path = tmp_path / "file.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(SettingsError) as caught:
        read_toml(path)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{path}: not TOML: ")
