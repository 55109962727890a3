"""The settings: each is one field that declares its variable, its option and its texts. ADD A SETTING HERE.

Most are fields of `Settings`. `Parts` has those of which `load.py` makes the last fields of `Settings`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from gitlab_port_export.model import Dialect, Problem
from gitlab_port_export.report.ci import CHOICES
from gitlab_port_export.report.formats import FORMATS
from gitlab_port_export.settings.declare import Setting, any_of, declared
from gitlab_port_export.settings.parse import (
    parse_allow_deletes,
    parse_duration,
    parse_names,
    parse_processes,
    parse_rate,
    parse_shard,
    parse_token_mapping,
    parse_words,
)
from gitlab_port_export.settings.types import (
    Ci,
    FailOn,
    GitLabAddress,
    Identifier,
    LogLevel,
    OnOverlap,
    PortAddress,
    Secret,
    from_text,
)

# GitLab's roles as words, lowest first.
RoleWord = Literal["minimal", "guest", "planner", "reporter", "security-manager", "developer", "maintainer", "owner"]
GITLAB_COM = "https://gitlab.com"
RESOURCES = Path(".port/resources")
MAPPING_NAMES = ("port-app-config.yml", "port-app-config.yaml")
RESOURCE_NAMES = (*MAPPING_NAMES, "blueprints.json")

# Commands that have an option.
_RUNS = ("sync", "plan")
_REPORTS = (*_RUNS, "reconcile")
_READS = (*_REPORTS, "survey", "hooks")
_READ = (*_READS, "check", "preview", "mapping show", "mapping diff")
_ACCESS = ("access grant", "access revoke", "access run")
_ACCOUNT = ("account create", "account block", "account unblock", "account remove")
_CHANGES = (*_ACCESS, *_ACCOUNT)
_ALL = (*_READ, "access show", *_CHANGES)


@dataclass(frozen=True)
class Token:
    """A GitLab token under an alias that may be shown, and the path patterns that it serves.

    `file` is set when a file holds this token alone, so that it can be read again after a rotation. `source` says which
    setting holds it.
    """

    alias: str
    secret: SecretStr
    patterns: tuple[str, ...]
    file: Path | None = None
    source: str = field(default="", compare=False)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, extra="forbid")


class Settings(_Frozen):
    """Everything that a run is given from outside, checked; `repr` shows no secret."""

    port_client_id: Annotated[
        Secret,
        Setting(
            "OCEAN__PORT__CLIENT_ID",
            "Port's client ID.",
            expected="the client ID that Port shows under Credentials",
            secret=True,
            found_file="taken",
        ),
    ]
    port_client_secret: Annotated[
        Secret,
        Setting(
            "OCEAN__PORT__CLIENT_SECRET",
            "Port's client secret.",
            expected="the client secret that Port shows under Credentials",
            secret=True,
            found_file="taken",
        ),
    ]
    port_base_url: Annotated[
        PortAddress,
        Setting(
            "OCEAN__PORT__BASE_URL",
            "The address of Port's API, or its region: `eu` or `us`.",
            expected="eu, us or an address, for example https://api.us.getport.io",
            found_file="refused",
        ),
    ] = "https://api.getport.io"
    integration_identifier: Annotated[
        Identifier | None,
        Setting(
            "OCEAN__INTEGRATION__IDENTIFIER",
            "The integration whose mapping is used and whose entities are owned.",
            expected="letters, digits and -, for example my-gitlab",
            default="`my-<type>-integration`",
            found_file="taken",
        ),
    ] = None
    integration_type: Annotated[
        Annotated[Dialect, from_text(str.lower)] | None,
        Setting(
            "OCEAN__INTEGRATION__TYPE",
            "The dialect: which of Ocean's integrations is followed where the two differ.",
            default="as in Port, else `gitlab-v2` (`gitlab` with a token mapping only)",
            found_file="taken",
        ),
    ] = None
    initialize_port_resources: Annotated[
        bool,
        Setting(
            "OCEAN__INITIALIZE_PORT_RESOURCES",
            "Create the default mapping and default blueprints that are missing.",
            found_file="taken",
        ),
    ] = True
    send_raw_data_examples: Annotated[
        bool,
        Setting(
            "OCEAN__SEND_RAW_DATA_EXAMPLES",
            "Send up to 5 masked rows of each kind to Port, for its mapping editor.",
            found_file="taken",
        ),
    ] = True
    client_timeout: Annotated[
        float,
        Setting(
            "OCEAN__CLIENT_TIMEOUT",
            "Seconds that a server may send nothing.",
            expected="seconds above 0 and up to 3600, for example 60",
            found_file="taken",
        ),
    ] = Field(default=60.0, gt=0, le=3600)
    batch_length: Annotated[
        int,
        Setting(
            "OCEAN__UPSERT_ENTITIES_BATCH_MAX_LENGTH",
            "Entities in one write to Port.",
            expected="a whole number from 1 to 20, for example 20",
            found_file="taken",
        ),
    ] = Field(default=20, ge=1, le=20)
    batch_bytes: Annotated[
        int,
        Setting(
            "OCEAN__UPSERT_ENTITIES_BATCH_MAX_SIZE_IN_BYTES",
            "Bytes in one write to Port.",
            expected="a whole number from 1 to 1048576",
            found_file="taken",
        ),
    ] = Field(default=1_048_576, ge=1, le=1_048_576)
    resources_path: Annotated[
        Path | None,
        Setting(
            "OCEAN__RESOURCES_PATH",
            "The folder with a mapping (`port-app-config.yml`) and `blueprints.json`.",
            expected="a folder, for example .port/resources",
            found_file="refused",
        ),
    ] = RESOURCES
    log_level: Annotated[
        LogLevel, Setting("APPLICATION__LOG_LEVEL", "Log lines from this level on are shown.", found_file="taken")
    ] = "INFO"
    log_format: Annotated[
        Annotated[Literal["text", "json"], from_text(str.lower)],
        Setting(
            "OCEAN__EXPORT__LOG_FORMAT",
            "Form of what standard error gets: lines of text, or one JSON object a line.",
            option="--log-format",
            on=_ALL,
            found_file="taken",
        ),
    ] = "text"
    mapping_file: Annotated[
        Path | None,
        Setting(
            "OCEAN__EXPORT__MAPPING",
            "Mapping file, used instead of the mapping in Port.",
            expected="a file, for example port-app-config.yml",
            option="--mapping",
            on=(*_READ, *_ACCESS, *_ACCOUNT),
            found_file="refused",
        ),
    ] = None
    workers: Annotated[
        int,
        Setting(
            "OCEAN__EXPORT__WORKERS",
            "Parallel connections to GitLab, and as many to Port.",
            expected="a whole number from 1 to 100, for example 10",
            option="--workers",
            on=_READS,
            found_file="taken",
        ),
    ] = Field(default=10, ge=1, le=100)
    rate: Annotated[
        Annotated[float, from_text(parse_rate)] | None,
        Setting(
            "OCEAN__EXPORT__RATE",
            "At most so many requests a second to GitLab, repeats included.",
            expected="a number above 0, for example 20 or 0.5",
            option="--rate",
            metavar="N",
            on=_ALL,
            found_file="taken",
        ),
    ] = None
    deadline: Annotated[
        Annotated[float, from_text(parse_duration)] | None,
        Setting(
            "OCEAN__EXPORT__DEADLINE",
            "Stop after this time, for example 25m; a run that was stopped deletes nothing.",
            expected="a time above 0, for example 1h30m, 25m, 90s or 90",
            option="--deadline",
            metavar="TIME",
            on=_ALL,
            found_file="taken",
        ),
    ] = None
    allow_deletes: Annotated[
        dict[str, int | None],
        from_text(parse_allow_deletes),
        Setting(
            "OCEAN__EXPORT__ALLOW_DELETES",
            "Allow the held deletions of a blueprint, in this run only.",
            expected="blueprints, for example service,gitlabGroup=20",
            option="--allow-deletes",
            on=_REPORTS,
            metavar="BLUEPRINT[=N]",
            value=list[str],
        ),
    ] = Field(default={})
    only: Annotated[
        tuple[str, ...],
        from_text(parse_words),
        Setting(
            "OCEAN__EXPORT__ONLY",
            "Read this group or project alone, with all below it; deletes nothing.",
            expected="paths, or patterns as in a token mapping, for example my-group/web,other/**",
            option="--only",
            on=_RUNS,
            metavar="PATH",
            value=list[str],
            found_file="left out",
        ),
    ] = ()
    kinds: Annotated[
        tuple[str, ...],
        from_text(parse_words),
        Setting(
            "OCEAN__EXPORT__KINDS",
            "Read this kind of the mapping alone; deletes nothing.",
            expected="kinds of the mapping, for example issue,merge-request",
            option="--kind",
            on=_RUNS,
            metavar="KIND",
            value=list[str],
            found_file="left out",
        ),
    ] = ()
    since: Annotated[
        Annotated[Literal["last"], from_text(str.lower)] | None,
        Setting(
            "OCEAN__EXPORT__SINCE",
            "Read what changed since the last run, or everything where a full run is due.",
            option="--since",
            on=_RUNS,
            found_file="left out",
        ),
    ] = None
    full_every: Annotated[
        Annotated[float, from_text(parse_duration)],
        Setting(
            "OCEAN__EXPORT__FULL_EVERY",
            "With --since: make a full run when the last one is so long ago.",
            expected="a time above 0, for example 24h",
            option="--full-every",
            metavar="TIME",
            on=_RUNS,
            default="`24h`",
            found_file="taken",
        ),
    ] = 86_400.0
    lookback: Annotated[
        Annotated[float, from_text(parse_duration), Field(ge=300)],
        Setting(
            "OCEAN__EXPORT__LOOKBACK",
            "With --since: how far runs overlap, for what GitLab shows late.",
            expected="a time of at least 5m, for example 10m",
            option="--lookback",
            metavar="TIME",
            on=_RUNS,
            default="`10m`",
            found_file="taken",
        ),
    ] = 600.0
    state: Annotated[
        str,
        Setting(
            "OCEAN__EXPORT__STATE",
            "Where runs keep how far they came for --since: in Port, or in a file.",
            expected="port or a file, for example .cache/gitlab-port-export.json",
            option="--state",
            on=_REPORTS,
            metavar="port|FILE",
            default="`port`",
            found_file="refused",
        ),
    ] = "port"
    event: Annotated[
        Path | None,
        Setting(
            "OCEAN__EXPORT__EVENT",
            "File with what GitLab's hooks sent (- for standard input): read again what it names, and nothing else.",
            expected="a file of JSON, for example $TRIGGER_PAYLOAD, or -",
            option="--event",
            on=_RUNS,
            found_file="left out",
        ),
    ] = None
    fail_on: Annotated[
        FailOn,
        Setting(
            "OCEAN__EXPORT__FAIL_ON", "What makes the run fail.", option="--fail-on", on=_REPORTS, found_file="taken"
        ),
    ] = "problems"
    reads: Annotated[
        bool,
        Setting(
            "OCEAN__EXPORT__READS",
            "Show which groups and projects each token reads, and the fewest requests of each kind.",
            option="--reads",
            on=("plan",),
            found_file="taken",
        ),
    ] = False
    no_values: Annotated[
        bool,
        Setting(
            "OCEAN__EXPORT__NO_VALUES",
            "Show which fields change, without titles and values, and read no values from Port.",
            option="--no-values",
            on=("plan",),
            found_file="taken",
        ),
    ] = False
    on_overlap: Annotated[
        OnOverlap,
        Setting(
            "OCEAN__EXPORT__ON_OVERLAP",
            "What to do while another run of the same integration is active.",
            option="--on-overlap",
            on=("sync",),
            found_file="taken",
        ),
    ] = "run"
    processes: Annotated[
        Annotated[int, Field(ge=1, le=32)] | Literal["auto"],
        from_text(parse_processes),
        Setting(
            "OCEAN__EXPORT__PROCESSES",
            "Read, map and compare in so many processes; `auto` goes by cores and size.",
            expected="a whole number from 1 to 32, or auto",
            option="--processes",
            on=("sync",),
            metavar="N|auto",
            value=str,
            found_file="taken",
        ),
    ] = 1
    shards: Annotated[
        int,
        Setting(
            "OCEAN__EXPORT__SHARDS",
            "Into how many shards a survey cuts the sync: as many jobs read side by side.",
            expected="a whole number from 1 to 200, for example 8",
            option="--shards",
            on=("survey",),
        ),
    ] = Field(default=2, ge=1, le=200)
    together: Annotated[
        tuple[str, ...],
        from_text(parse_words),
        Setting(
            "OCEAN__EXPORT__TOGETHER",
            "Let one shard read all of this kind: its rows of several groups or projects give the same entity.",
            expected="kinds of the mapping, for example release",
            option="--together",
            on=("survey", "sync"),
            metavar="KIND",
            value=list[str],
        ),
    ] = ()
    shard: Annotated[
        tuple[int, int] | None,
        from_text(parse_shard),
        Setting(
            "OCEAN__EXPORT__SHARD",
            "Do the share of this shard of a survey alone, K/N, counted from 1; deletes nothing.",
            expected="K/N, for example 3/8",
            option="--shard",
            on=("sync",),
            metavar="K/N",
            value=str,
        ),
    ] = None
    survey: Annotated[
        Path | None,
        Setting(
            "OCEAN__EXPORT__SURVEY",
            "The folder with the survey of a sync in shards.",
            expected="the folder that survey --out wrote",
            option="--survey",
            on=("sync", "reconcile"),
        ),
    ] = None
    evidence: Annotated[
        Path | None,
        Setting(
            "OCEAN__EXPORT__EVIDENCE",
            "With --shard: the file for what the shard found, which reconcile reads.",
            expected="a file in a folder that exists, for example evidence-3",
            option="--evidence",
            on=("sync",),
        ),
    ] = None
    attempt: Annotated[
        int,
        Setting(
            "OCEAN__EXPORT__ATTEMPT",
            "With --shard: which attempt of the job this is; of one shard the last attempt counts.",
            expected="a whole number from 1 on, for example $GITHUB_RUN_ATTEMPT",
            option="--attempt",
            on=("sync",),
        ),
    ] = Field(default=1, ge=1)
    max_age: Annotated[
        Annotated[float, from_text(parse_duration)],
        Setting(
            "OCEAN__EXPORT__MAX_AGE",
            "Refuse a survey that is older.",
            expected="a time above 0, for example 6h",
            option="--max-age",
            on=("reconcile",),
            default="`6h`",
        ),
    ] = 6 * 3600.0
    ci: Annotated[
        Ci,
        Setting(
            "OCEAN__EXPORT__CI",
            "CI system for which folds, annotations and summaries are written.",
            expected=any_of(CHOICES),
            value=Literal[CHOICES],
            option="--ci",
            on=_REPORTS,
            found_file="taken",
        ),
    ] = "auto"
    env_file: Annotated[
        Path | None,
        Setting(
            "OCEAN__EXPORT__ENV_FILE",
            "File of NAME=value lines that sets what the environment does not.",
            expected="a file of NAME=value lines, for example port.env",
            option="--env-file",
            on=_ALL,
        ),
    ] = None
    write_token: Annotated[
        Secret | None,
        Setting(
            "OCEAN__EXPORT__GITLAB_WRITE_TOKEN",
            "The token with which `access` and `account` change GitLab (scope `api`); no other command opens it.",
            expected="a token with the scope api, like glpat-…",
            secret=True,
            apart=True,
        ),
    ] = None
    write_scopes: Annotated[
        tuple[str, ...],
        from_text(parse_words),
        Setting(
            "OCEAN__EXPORT__WRITE_SCOPES",
            "The groups and projects in which `access` and `account` may change something.",
            expected="paths, or patterns as in a token mapping, for example my-group,my-group/**",
            default="none: nothing may be changed",
            apart=True,
        ),
    ] = ()
    max_role: Annotated[
        Annotated[RoleWord, from_text(str.lower)],
        Setting(
            "OCEAN__EXPORT__MAX_ROLE",
            "The highest role that `access` may give, change or end.",
            apart=True,
            found_file="refused",
        ),
    ] = "maintainer"
    run: Annotated[
        str | None,
        Setting(
            "OCEAN__EXPORT__RUN",
            "The run of a Port action: what is asked for comes from it, and it is told how it went.",
            expected="the id of a run, which Port gives as {{ .run.id }}",
            metavar="ID",
            option="--run",
            on=_CHANGES,
            apart=True,
            found_file="left out",
        ),
    ] = None
    request: Annotated[
        Path | None,
        Setting(
            "OCEAN__EXPORT__REQUEST",
            "File with what is asked for (- for standard input), or with the id of a run alone.",
            expected="a file of JSON, for example $TRIGGER_PAYLOAD, or -",
            option="--request",
            on=_CHANGES,
            apart=True,
            found_file="left out",
        ),
    ] = None
    action: Annotated[
        str | None,
        Setting(
            "OCEAN__EXPORT__ACTION",
            "The only action whose runs are carried out.",
            expected="the identifier of an action in Port",
            default="by the command: gitlab_access_grant and gitlab_access_grant_…, and so on",
            metavar="NAME",
            option="--action",
            on=_CHANGES,
            apart=True,
            found_file="left out",
        ),
    ] = None
    plain_expressions: Annotated[
        bool,
        Setting(
            "OCEAN__EXPORT__PLAIN_EXPRESSIONS",
            "Evaluate simple expressions without jq, which is about ten times as fast; with `false` jq evaluates all.",
            found_file="taken",
        ),
    ] = True
    strict_port: Annotated[
        bool,
        Setting(
            "OCEAN__SSL__PORT__X509__STRICT",
            "Verify Port's certificate as strictly as Python does; `false` takes certificates that break RFC 5280.",
        ),
    ] = True
    strict_gitlab: Annotated[
        bool,
        Setting(
            "OCEAN__SSL__THIRD_PARTY__X509__STRICT",
            "Verify GitLab's certificate as strictly as Python does; `false` takes certificates that break RFC 5280.",
        ),
    ] = True

    # Made by `load_settings` of several settings, or of where they came from.
    port_client_id_file: Path | None = None
    port_client_secret_file: Path | None = None
    gitlab_url: str = GITLAB_COM
    tokens: tuple[Token, ...] = ()
    token_mapping_only: bool = False
    jq_env: tuple[str, ...] = ()
    verify_port: bool | str = True
    verify_gitlab: bool | str = True
    reports: Mapping[str, Path] = {}
    warnings: tuple[Problem, ...] = ()
    ignored: tuple[str, ...] = ()
    file_notes: tuple[str, ...] = ()
    logins: tuple[SecretStr, ...] = ()

    @property
    def default_dialect(self) -> Dialect:
        """The dialect where neither the user nor Port names one."""
        return "gitlab" if self.token_mapping_only else "gitlab-v2"

    @property
    def chosen_timeout(self) -> float | None:
        """The seconds that the user allows for an answer, also for the first of a host; None for the default."""
        return self.client_timeout if "client_timeout" in self.model_fields_set else None

    @property
    def state_file(self) -> Path | None:
        """The file in which runs keep their state, None where that is Port."""
        return None if self.state == "port" else Path(self.state)

    def secrets(self) -> tuple[str, ...]:
        """Return every secret text, for redaction."""
        tokens = (token.secret for token in self.tokens)
        writing = (self.write_token,) if self.write_token else ()
        held = (self.port_client_id, self.port_client_secret, *tokens, *writing, *self.logins)
        return tuple(dict.fromkeys(secret.get_secret_value() for secret in held))


class Parts(_Frozen):
    """Settings that only together make a field of `Settings`; each is checked alone here."""

    token: Annotated[
        Secret | None,
        Setting(
            "OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN",
            "A group access token with `read_api`.",
            expected="a group access token with read_api, like glpat-…",
            secret=True,
            found_file="taken",
        ),
    ] = None
    token_mapping: Annotated[
        dict[str, tuple[str, ...]],
        from_text(parse_token_mapping),
        Setting(
            "OCEAN__INTEGRATION__CONFIG__TOKEN_MAPPING",
            'Several tokens with the paths that each reads: `{"token": ["group/**"]}`.',
            expected='JSON, for example {"glpat-…": ["my-group/**"]}',
            secret=True,
            found_file="taken",
        ),
    ] = Field(default={})
    host: Annotated[
        GitLabAddress | None,
        Setting(
            "OCEAN__INTEGRATION__CONFIG__GITLAB_HOST",
            "The address of GitLab; it may have a path.",
            expected="an address, for example https://gitlab.example.com",
            default=f"`{GITLAB_COM}`",
            found_file="refused",
        ),
    ] = None
    url: Annotated[
        GitLabAddress | None,
        Setting(
            "OCEAN__INTEGRATION__CONFIG__GITLAB_URL",
            "Another name of `OCEAN__INTEGRATION__CONFIG__GITLAB_HOST`.",
            expected="an address, for example https://gitlab.example.com",
            found_file="refused",
        ),
    ] = None
    listener: Annotated[
        Literal["ONCE"],
        from_text(str.upper),
        Setting(
            "OCEAN__EVENT_LISTENER__TYPE",
            "Not needed; `ONCE` is the only value.",
            expected='nothing (remove it) or {"type":"ONCE"}, as this runs once',
            found_file="taken",
        ),
    ] = "ONCE"
    jq_access: Annotated[
        bool,
        Setting(
            "OCEAN__ALLOW_ENVIRONMENT_VARIABLES_JQ_ACCESS",
            "Let `env` in jq show the variables that `OCEAN__EXPORT__JQ_ENV` names.",
            found_file="refused",
        ),
    ] = False
    jq_names: Annotated[
        tuple[str, ...],
        from_text(parse_names),
        Setting(
            "OCEAN__EXPORT__JQ_ENV",
            "Names of the variables that `env` in jq shows.",
            expected="names of variables, for example REGION,STAGE",
            found_file="refused",
        ),
    ] = ()
    check_port: Annotated[bool, Setting("OCEAN__SSL__PORT__VERIFY", "Verify Port's certificate.")] = True
    check_gitlab: Annotated[bool, Setting("OCEAN__SSL__THIRD_PARTY__VERIFY", "Verify GitLab's certificate.")] = True


def _report_files() -> Mapping[str, Setting]:
    """Return a setting for the file of each report format."""
    return {
        one.setting: Setting(
            f"OCEAN__EXPORT__{one.setting.upper()}",
            one.help,
            expected=f"a file in a folder that exists, for example {one.example}",
            option=one.option,
            on=_REPORTS,
            value=Path,
        )
        for one in FORMATS.values()
    }


# Every setting by its name: the name of its field, or report_<format>.
SETTINGS: Mapping[str, Setting] = {**declared(Parts), **declared(Settings), **_report_files()}
SECRETS = tuple(name for name, setting in SETTINGS.items() if setting.secret)
# What only the commands that change GitLab look at.
APART = frozenset(name for name, setting in SETTINGS.items() if setting.apart)
