"""Reading the configuration: defaults, the environment over the file, and what a mistake says."""

from pathlib import Path

import pytest

from rag.errors import ConfigError
from rag.prompt.profiles import DEFAULT_PROFILE
from service.settings.load import load_settings
from service.settings.sections import Settings
from service.settings.sources import FilesSettings, SqlSettings

SHOP = '[sources.shop]\nkind = "sql"\nurl = "sqlite:///a.db"\n'
DOCS = '[sources.docs]\nkind = "files"\npaths = ["docs"]\n'


def load(tmp_path: Path, text: str, **environ: str) -> Settings:
    (tmp_path / "citewell.toml").write_text(text, encoding="utf-8")
    return load_settings(tmp_path / "citewell.toml", environ=environ)


def sql(settings: Settings, name: str = "shop") -> SqlSettings:
    found = settings.sources[name]
    assert isinstance(found, SqlSettings)
    return found


def files(settings: Settings, name: str = "docs") -> FilesSettings:
    found = settings.sources[name]
    assert isinstance(found, FilesSettings)
    return found


def test_defaults_hold_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    assert (settings.root, settings.data_dir) == (tmp_path, tmp_path / ".citewell")
    assert settings.llm.profile == DEFAULT_PROFILE


def test_an_absolute_folder_stays_where_it_is(tmp_path: Path) -> None:
    assert load(tmp_path, 'data_dir = "/srv/citewell"\n').data_dir == Path("/srv/citewell")


def test_the_configuration_and_the_data_folder_are_never_documents(tmp_path: Path) -> None:
    assert load(tmp_path, "").own_files == (tmp_path / ".citewell", tmp_path / "citewell.toml")
    assert Settings().own_files == (Path(".citewell"),)


def test_the_environment_goes_over_the_file(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        f'[llm]\nmodel = "a"\n{SHOP}',
        CITEWELL_LLM__MODEL="b",
        CITEWELL_LLM__URLS='["http://x/v1"]',
        CITEWELL_SOURCES__SHOP__TABLES='["t"]',
    )
    assert settings.llm.model == "b"
    assert settings.llm.urls == ("http://x/v1",)
    assert sql(settings).tables == ("t",)


def test_a_value_of_the_environment_is_json_only_where_it_can_be_nothing_else(tmp_path: Path) -> None:
    settings = load(tmp_path, "", CITEWELL_LLM__MODEL="7", CITEWELL_SERVER__PORT="9", CITEWELL_QDRANT__GRPC="true")
    assert (settings.llm.model, settings.server.port, settings.qdrant.grpc) == ("7", 9, True)


def test_where_the_configuration_lies_and_other_programs_variables_are_no_settings(tmp_path: Path) -> None:
    assert load(tmp_path, "", CITEWELL_CONFIG="x", OTHER_LLM__MODEL="y").llm == Settings().llm


def test_a_mistyped_environment_variable_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"environment variable CITEWELL_LLM__MODLE: llm\.modle: unknown key"):
        load(tmp_path, "", CITEWELL_LLM__MODLE="x")


def test_a_variable_under_a_value_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="CITEWELL_LLM__MODEL__NAME does not name a setting: 'model' is not a section"
    ):
        load(tmp_path, '[llm]\nmodel = "a"\n', CITEWELL_LLM__MODEL__NAME="x")


def test_variables_in_values_are_filled_in_wherever_they_stand(tmp_path: Path) -> None:
    settings = load(tmp_path, '[llm]\nurls = ["http://${HOST}/v1"]\nmodel = "${A}-${B}"\n', HOST="h:1", A="x y", B="z")
    assert settings.llm.urls == ("http://h:1/v1",)
    assert settings.llm.model == "x y-z"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[llm]\nmodle = "x"\n', r"citewell.toml, line 2: llm.modle: unknown key 'modle'; known keys: urls, model"),
        ("data_dir = 3\n", r"line 1: data_dir"),
        ("[llm]\nmax_tokens = 5\n", r"line 2: llm.max_tokens: .*greater than or equal to 16"),
        ("[llm\n", r"not valid TOML: .*line 1"),
        ('[sources.a]\nkind = "ftp"\n', r'line 1: sources.a: a source needs kind = "sql" or kind = "files"'),
        ('[sources.a]\nkind = "sql"\n', r"line 1: sources.a.url: Field required"),
        ('[llm]\nmodel = "${NOPE}"\n', r"uses \$\{NOPE\}"),
        ("\nunknown = 1\n", r"line 2: unknown: unknown key 'unknown'; known keys: data_dir, embedder"),
        ('root = "/"\n', r"line 1: unknown key 'root'"),
        ('[llm]\n\nfile = "x"\n', r"line 3: llm.file: unknown key"),
        (
            f"{SHOP}tabels = []\n",
            r"line 4: sources.shop.tabels: unknown key 'tabels'; known keys: acl, .*schema, .*url",
        ),
        ('[llm]\nprofile = "huge"\n', r"line 2: llm.profile: .*'chat', 'document', 'log' or 'book'"),
        ('[retrieval]\nfilter = { colour = "red" }\n', r"line 1: retrieval: "),
        ('[sources."a b"]\nkind = "sql"\nurl = 3\n', r"line 3: sources.a b.url: "),
        ('[sources.sql]\nkind = "files"\npath = []\n', r"line 3: sources.sql.path: unknown key 'path'"),
        ("[sources.a]\nkind = 'sql'\nurl = 'x'\n[llm]\nurl = 'x'\n", r"line 5: llm.url: unknown key"),
        ("[llm]\napi_key = '''\n[a b]\n[sources.c'''\nurl = 'x'\n", r"line 5: llm.url: unknown key"),
        ("llm = { model = 3 }\n", r"line 1: llm.model: "),
        ('[identity]\ngroups = ["*"]\n', r"line 2: identity.groups.0: '\*' is not a valid group"),
        ("[limits]\nrate = 'often'\n", r"line 2: limits.rate: 'often' is not a rate; write \"60/minute\""),
    ],
)
def test_a_mistake_is_told_with_file_line_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


def test_every_mistake_has_a_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "[llm]\nmax_tokens = 5\n[server]\nport = -1\n")
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == ["llm.max_tokens", "server.port"]


def test_keys_that_are_no_settings_are_not_listed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "unknown = 1\n")
    listed = str(caught.value).split("known keys: ")[1].split(", ")
    assert set(listed) == set(Settings.model_fields) - {"root", "file"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('query = "SELECT 1"', "a query needs key"),
        ('key = ["id"]', "key belongs to a query"),
        ('query = "SELECT 1"\nkey = ["id"]\ntables = ["t"]', "either a query or tables"),
        ('query = "SELECT 1"\nkey = ["id"]\ncursors = { t = "c" }', "either a query or tables"),
        ('every = "5m"\ncron = "* * * * *"', "either every or cron"),
        ('cron = "61 * * * *"', "cron '61 .* is not valid"),
        ('overlap = "soon"', "'soon' is not a time; write \"30s\""),
        ("acl = []", "gives nobody access; leave it out"),
        ('acl = ["*", "hr"]', r"'\*' is not a valid group"),
    ],
)
def test_what_does_not_go_together_in_a_source_is_refused(tmp_path: Path, lines: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, f"{SHOP}{lines}\n")


@pytest.mark.parametrize(
    "lines", ['query = "SELECT 1"\nkey = ["id"]', 'cron = "*/15 8-18 * * mon-fri"', 'every = "5m"', 'acl = ["*"]']
)
def test_what_goes_together_in_a_source_is_read(tmp_path: Path, lines: str) -> None:
    assert load(tmp_path, f"{SHOP}{lines}\n").sources.keys() == {"shop"}


def test_the_tenants_of_a_source_are_known_unless_each_row_names_its_own(tmp_path: Path) -> None:
    assert sql(load(tmp_path, f'{SHOP}tenant = "acme"\n')).tenants == ("acme",)
    assert sql(load(tmp_path, f'{SHOP}tenant_column = "owner"\n')).tenants == ()
    rules = 'rules = [{ path = "a/*", tenant = "beta" }, { path = "b/*", tags = ["x"] }]\n'
    assert files(load(tmp_path, f"{DOCS}{rules}")).tenants == ("default", "beta")


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="citewell init"):
        load_settings(tmp_path / "none.toml")


@pytest.mark.parametrize("content", [b"\xff\xfe", None], ids=["not UTF-8", "a folder"])
def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "citewell.toml"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(path)
