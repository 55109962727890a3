"""Tests of raw rows without their secrets: by key and by shape, in a time that grows with their size alone."""

import json
import random
from typing import Any

import pytest

from gitlab_port_export.port.masking import MARGIN, MASK, MOST_ITEMS, MOST_TEXT, masked, masked_text, names_a_secret

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"


def test_secrets_and_addresses_are_masked() -> None:
    row = {
        "name": "x",
        "runners_token": "abc",
        "ci": {"MY_SECRET": "abc", "password": ["abc"], "Private_Key": "abc"},
        "author": {"email": "ada@example.com", "name": "Ada <ada@example.com>"},
        "import_url": "https://user:pass@example.com/x.git",
        "web_url": "https://gitlab.example.com/a/b",
        "token_id": 5,
        "description": None,
    }
    assert masked(row) == {
        "name": "x",
        "runners_token": "[masked]",
        "ci": {"MY_SECRET": "[masked]", "password": ["[masked]"], "Private_Key": "[masked]"},
        "author": {"email": "[masked]", "name": "Ada <[masked]>"},
        "import_url": "[masked]",
        "web_url": "https://gitlab.example.com/a/b",
        "token_id": 5,
        "description": None,
    }


@pytest.mark.parametrize(
    "name",
    [
        "token", "runners_token", "secrets", "api_key", "apiKey", "x-api-key", "APIKey", "passwd", "DB_PASS", "pwd",
        "dsn", "SENTRY_DSN", "authorization", "Proxy-Authorization", "privateKey", "private_key", "aws_secret_key",
        "accessKey", "signing-key", "credentials", "clientSecret", "passphrase", "PGPASSWORD", "cookie", "auth",
        "connectionString", "account_key", "jwt", "CI_JOB_TOKEN",
    ],
)  # fmt: skip
def test_names_of_secrets_in_any_spelling(name: str) -> None:
    assert names_a_secret(name)
    assert masked({name: "x"}) == {name: MASK}


@pytest.mark.parametrize(
    "name",
    [
        "author",
        "authored_date",
        "key",
        "keys",
        "name",
        "passed",
        "path",
        "description",
        "pattern",
        "web_url",
        "compass",
    ],
)
def test_names_of_other_things(name: str) -> None:
    assert not names_a_secret(name)


def test_everything_below_a_secret_name_is_masked() -> None:
    value = {"a": ["x", {"b": 5, "c": None, "d": True}], "e": 1.5}
    hidden = {"a": [MASK, {"b": MASK, "c": None, "d": True}], "e": MASK}
    for name in ("token", "secrets", "MY_CREDENTIALS"):
        assert masked({name: value}) == {name: hidden}


def test_values_of_variables_are_masked() -> None:
    rows = [
        {"key": "COLOUR", "value": "red", "variable_type": "env_var"},
        {"key": "DB_PASSWORD", "value": "red"},
        {"name": "api-key", "value": {"deep": "red"}},
        {"name": "colour", "value": "red"},
    ]
    assert [row["value"] for row in masked({"variables": rows})["variables"]] == [MASK, MASK, {"deep": MASK}, "red"]


@pytest.mark.parametrize(
    "secret",
    [
        PEM,
        PEM.replace("RSA", "OPENSSH").replace("\n", "\\n"),
        "-----BEGIN PRIVATE KEY-----\nMIIEpAIB",
        JWT,
        "AKIAIOSFODNN7EXAMPLE",
        "glpat-abcdefghijklmnopqrst",
        "glrt-abcdefghijklmnopqrst",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "xoxb-123456789012-abcdefghijkl",
        "postgres://user:hunter2@db.example.com/x",
        "postgres://user:hun/ter2@db.example.com/x",
        "redis://:hunter2@cache:6379",
        "https://oauth2:hunter2@gitlab.example.com/a.git",
        "ada.lovelace+x@example.com",
    ],
)
@pytest.mark.parametrize("text", ["{}", "see {} there", "a\n{}\nb", '{{"a": "{}"}}', "x={};"])
def test_what_looks_like_a_secret_is_masked_in_any_text(secret: str, text: str) -> None:
    shown = masked_text(text.format(secret))
    for part in ("hunter2", "ter2", "MIIE", "eyJ", "IOSFODNN", "abcdefgh", "lovelace"):
        assert part not in shown
    assert MASK in shown or "[secret]" in shown


@pytest.mark.parametrize(
    "text",
    [
        "DB_PASSWORD=hunter2",
        "export API_KEY='hunter2'",
        'password: "hunter2 and more"',
        "Server=x;Password=hunter2;Port=1",
        "https://example.com/?private_token=hunter2&page=1",
        "curl -H 'Authorization: Bearer hunter2hunter2'",
        "PRIVATE-TOKEN: hunter2",
        '{"client_secret": "hunter2"}',
    ],
)
def test_assigned_secrets_are_masked_and_what_is_around_them_stays(text: str) -> None:
    shown = masked_text(text)
    assert "hunter2" not in shown
    assert shown[:4] == text[:4]


@pytest.mark.parametrize(
    "text",
    [
        "https://gitlab.example.com/a/b?x=1#c",
        "a: b",
        "5 @ 6",
        "fix: key of map",
        "ref=main",
        "uses: a/b@v4",
        "10:30",
        "x" * 500,
        "",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert masked_text(text) == text


def test_long_texts_are_cut_without_half_a_secret_at_their_end() -> None:
    for start in range(MOST_TEXT - 100, MOST_TEXT + MARGIN + 10, 37):
        shown = masked_text(f"{'x ' * (start // 2)}{JWT} {'y ' * 5000}")
        assert len(shown) <= MOST_TEXT + 1
        assert "eyJ" not in shown
    assert masked_text("x" * MOST_TEXT) == "x" * MOST_TEXT
    assert len(masked([1] * 5000)) == MOST_ITEMS


@pytest.mark.parametrize(
    "part",
    ["QUJD", "a@", "eyJ", "eyJaaaaaa.", "-----BEGIN PRIVATE KEY-----", "-----BEGIN A ", "://", "a='", 'token="', "a:",
     "Bearer ", "glpat-", "a-", "a.b", "=", "x://a:", " "],
)  # fmt: skip
def test_no_text_is_looked_at_more_often_for_its_length(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at is bounded, so that the worst text costs no more than a few milliseconds."""
    seen: list[int] = []

    class Counting:
        def redact(self, text: str) -> str:
            seen.append(len(text))
            return text

    monkeypatch.setattr("gitlab_port_export.port.masking._TOKENS", Counting())
    assert len(masked_text(part * (1_000_000 // len(part)))) <= MOST_TEXT + 1
    assert seen[0] <= MOST_TEXT + MARGIN


def test_any_json_stays_json_of_the_same_shape() -> None:
    chance = random.Random(1)

    def some(levels: int) -> Any:
        if not levels or chance.random() < 0.2:
            return chance.choice([None, True, 5, 1.5, "", "text", JWT])
        if chance.random() < 0.5:
            return [some(levels - 1) for _ in range(3)]
        return {chance.choice(["a", "token", "value", "name", "key"]): some(levels - 1) for _ in range(3)}

    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: shape(part) for name, part in value.items()}
        return [shape(part) for part in value] if isinstance(value, list) else None

    for _ in range(200):
        value = some(4)
        assert shape(masked(value)) == shape(value)
        assert JWT not in json.dumps(masked(value))


SPELLINGS = [
    "- name: DB_PASSWORD\n  value: {}", '{{"name":"DB_PASSWORD","value":"{}"}}', '{{\\"password\\":\\"{}\\"}}',
    "password: |\n  {}\nother: 1", "password: >-\n    {}", "secrets:\n- {}", '"password":\n  "{}"',
    "ENV DB_PASSWORD {}", "--password {}", '["--password","{}"]', "machine h login u password {}",
    "sshpass -p {} ssh h",
    "curl -u user:{} h", "mysql -h db -p{}", "<password>{}</password>",
    "password = \'\'\'{}\'\'\'", "password = \'\'\'\n{}\n\'\'\'",
    'password: "x\\"{}"', "PASSWORD=$(echo {})", "client_secret%3D{}", "%22password%22%3A%22{}%22",
    "https://h.example.com/b?sv=1&sig={}&se=2", "https://h.example.com/b?X-Amz-Signature={}",
    "https://discord.com/api/webhooks/123456789/{0}{0}{0}", "https://x.webhook.office.com/webhookb2/{0}{0}@{0}",
    "https://hooks.zapier.com/hooks/catch/123/{0}{0}",
]  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_secrets_in_texts_of_files_are_masked_however_they_are_written(spelling: str) -> None:
    secret = "Zq8vLx2Kp9"
    for text in (spelling, f"a: 1\n{spelling}\nb: 2"):
        shown = masked_text(text.format(secret))
        assert secret not in shown
        assert MASK in shown
        assert "\ue000" not in shown
        assert ("b: 2" in shown) == (text != spelling)


@pytest.mark.parametrize(
    "row",
    [
        {"key": "COLOUR", "value": "hunter2", "protected": True},
        {"name": "password", "default": "hunter2"},
        {"key": "password", "val": "hunter2"},
        {"command": ["mysql", "--password", "hunter2"]},
        {"env": ["DB_PASSWORD", "hunter2"]},
    ],
)
def test_values_beside_the_name_of_a_secret_are_masked(row: Any) -> None:
    assert "hunter2" not in json.dumps(masked(row))


@pytest.mark.parametrize(
    "text",
    [
        "Add a token for deploys",
        "Rotate secrets, then tokens",
        "tokens are kept in a vault",
        "keys:\n  a: 1",
        "- name: x\n  value: y",
    ],
)
def test_prose_about_secrets_stays(text: str) -> None:
    assert masked_text(text) == text
