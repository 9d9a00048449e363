import gc
import hashlib
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.types import CommandLine
from exporter.redaction import REMEMBERED, SCAN_LIMIT, SCAN_MARGIN, TEXT_LIMIT_BYTES, Redactor
from exporter.secret_rules import KINDS, RULES
from telemetry.metrics import REGISTRY

R = "[redacted]"

REDACTED = [
    # named options
    ("psql --password=hunter2 -h db", f"psql --password={R} -h db"),
    ("psql --password hunter2 -h db", f"psql --password {R} -h db"),
    ("java -password hunter2", f"java -password {R}"),
    ("x --db-password=a;b&c rest", f"x --db-password={R} rest"),
    (
        "java -Dspring.datasource.password=s3cret -jar a.jar",
        f"java -Dspring.datasource.password={R} -jar a.jar",
    ),
    ("vault login --token s.abc", f"vault login --token {R}"),
    ("x --auth-token=abc --verbose --api-key k1", f"x --auth-token={R} --verbose --api-key {R}"),
    ("x --clientSecret abc", f"x --clientSecret {R}"),
    ("openssl rsa -passin pass:hunter2", f"openssl rsa -passin {R}"),
    (
        "kubectl create secret generic x --from-literal=password=p",
        f"kubectl create secret generic x --from-literal=password={R}",
    ),
    ("x --passphrase 'two words' y", f"x --passphrase {R} y"),
    ("x --pwd hunter2", f"x --pwd {R}"),
    # assignments
    ("sh -c PASSWORD=hunter2 run", f"sh -c PASSWORD={R} run"),
    ("env GITHUB_TOKEN=ghp_x make", f"env GITHUB_TOKEN={R} make"),
    ("env AWS_SECRET_ACCESS_KEY=abc/+= aws s3 ls", f"env AWS_SECRET_ACCESS_KEY={R} aws s3 ls"),
    ("docker run -e MYSQL_ROOT_PASSWORD=x mysql", f"docker run -e MYSQL_ROOT_PASSWORD={R} mysql"),
    ("env MYSQL_PWD=x DB_PASS=y SSHPASS=z a", f"env MYSQL_PWD={R} DB_PASS={R} SSHPASS={R} a"),
    ('sh -c \'TOKEN="a \\" b" go\'', f"sh -c 'TOKEN={R} go'"),
    ("sh -c \"TOKEN='a b' go\"", f'sh -c "TOKEN={R} go"'),
    ("password = hunter2 in a file", f"password = {R} in a file"),
    ("token=one token=two", f"token={R} token={R}"),
    ("token=token=token=x", f"token={R}"),
    # JSON, YAML, queries
    ('curl -d {"user": "u", "password": "p w", "x": 1}', f'curl -d {{"user": "u", "password": {R}, "x": 1}}'),
    ("echo password: hunter2", f"echo password: {R}"),
    ("curl https://h/p?token=abc&x=1#y", f"curl https://h/p?token={R}&x=1#y"),
    ("curl 'https://h/p?x=1&api_key=abc'", f"curl 'https://h/p?x=1&api_key={R}'"),
    # headers
    ('curl -H "Authorization: Bearer eyJ.a.b" -X POST', f'curl -H "Authorization: Bearer {R}" -X POST'),
    ("curl -H Authorization: Basic dXNlcjpwdw== u", f"curl -H Authorization: Basic {R} u"),
    ("curl -H authorization:abc", f"curl -H authorization:{R}"),
    ("curl -H 'Authorization: Splunk 5e4f'", f"curl -H 'Authorization: Splunk {R}'"),
    ("curl -H 'Proxy-Authorization: Basic eA=='", f"curl -H 'Proxy-Authorization: Basic {R}'"),
    ("curl -H 'X-Auth-Token: a b' u", f"curl -H 'X-Auth-Token: {R}' u"),
    ("curl -H X-Api-Key: abc u", f"curl -H X-Api-Key: {R} u"),
    (
        'sh -c "curl -H \\"X-Api-Key: a b\\" u"',
        f'sh -c "curl -H \\"X-Api-Key: {R}\\" u"',
    ),
    ("curl -H 'Authorization:  Bearer  a' u", f"curl -H 'Authorization:  Bearer  {R}' u"),
    ("curl -H 'Authorization: Unheard a b' u", f"curl -H 'Authorization: {R}' u"),
    ('curl -H Authorization: Digest username="u", response="a" u', f"curl -H Authorization: Digest {R} u"),
    ("curl -H Cookie: a=b; c=d -s", f"curl -H Cookie: {R} -s"),
    (
        "git -c http.extraHeader=AUTHORIZATION: basic eA== x",
        f"git -c http.extraHeader=AUTHORIZATION: basic {R} x",
    ),
    # URLs
    ("git clone https://me:ghp_x@github.com/a/b", f"git clone https://me:{R}@github.com/a/b"),
    ("psql postgres://u:p@ss@db:5432/x", f"psql postgres://u:{R}@db:5432/x"),
    ("redis-cli redis://:secretpw@h", f"redis-cli redis://:{R}@h"),
    # programs whose short options carry secrets
    ("mysql -uroot -pS3cret db", f"mysql -uroot -p{R} db"),
    ("sh -c '/usr/bin/mysqldump -p\"a b\" db'", f"sh -c '/usr/bin/mysqldump -p{R} db'"),
    ("mariadb -p1 -P 3306", f"mariadb -p{R} -P 3306"),
    ("sshpass -p hunter2 ssh h", f"sshpass -p {R} ssh h"),
    ("sshpass -phunter2 ssh h", f"sshpass -p{R} ssh h"),
    ("redis-cli -h x -a hunter2", f"redis-cli -h x -a {R}"),
    ("mongosh -u me -p hunter2 db", f"mongosh -u me -p {R} db"),
    ("curl -u me:hunter2 https://h", f"curl -u me:{R} https://h"),
    ("curl --user me:hunter2 --proxy-user a:b x", f"curl --user me:{R} --proxy-user a:{R} x"),
    ("curl -ume:hunter2 x", f"curl -ume:{R} x"),
    ("curl -sSu me:hunter2 x", f"curl -sSu me:{R} x"),
    ("curl --user=me:hunter2 x", f"curl --user=me:{R} x"),
    ("curl -E c.pem:hunter2 --cert-type PEM", f"curl -E c.pem:{R} --cert-type PEM"),
    ("curl -b session=1a2b -b jar.txt x", f"curl -b session={R} -b jar.txt x"),
    ("sh -c cd /x&&mysql -phunter2 db", f"sh -c cd /x&&mysql -p{R} db"),
    ("sh -c x|mysql -phunter2", f"sh -c x|mysql -p{R}"),
    ('sh -c "sh -c \'mysql -p\\"a b\\" db\'"', f"sh -c \"sh -c 'mysql -p{R} db'\""),
    ("sshpass -vp hunter2 ssh h", f"sshpass -vp {R} ssh h"),
    ("docker login -u me -p hunter2 reg", f"docker login -u me -p {R} reg"),
    ("helm registry login -p=hunter2", f"helm registry login -p={R}"),
    ("7z x -phunter2 a.7z", f"7z x -p{R} a.7z"),
    ("ldapsearch -x -w hunter2 -W", f"ldapsearch -x -w {R} -W"),
    ("smbclient -U dom/u%hunter2 //h/s", f"smbclient -U dom/u%{R} //h/s"),
    ("lftp -u me,hunter2 h", f"lftp -u me,{R} h"),
    ("nxc smb h -u u -p hunter2", f"nxc smb h -u u -p {R}"),
    ("xfreerdp /u:a /p:hunter2 /v:h", f"xfreerdp /u:a /p:{R} /v:h"),
    ("splunk search x -auth admin:hunter2", f"splunk search x -auth admin:{R}"),
    # names that end in pass, pw or key; settings; what is escaped or encoded
    (
        "env DBPASS=a ROOTPW=b USER_PW=c REDISCLI_AUTH=d x",
        f"env DBPASS={R} ROOTPW={R} USER_PW={R} REDISCLI_AUTH={R} x",
    ),
    ("keytool -storepass a -keypass b", f"keytool -storepass {R} -keypass {R}"),
    ("env STRIPE_KEY=sk1live2 AZURE_STORAGE_KEY='a1b2c3d4'", f"env STRIPE_KEY={R} AZURE_STORAGE_KEY={R}"),
    ("curl https://h/?key=AbCd1234&x=1", f"curl https://h/?key={R}&x=1"),
    ("curl https://h/?sv=1&sig=a%2Fb&se=2", f"curl https://h/?sv=1&sig={R}&se=2"),
    ("curl https://h/?X-Amz-Signature=0a1b", f"curl https://h/?X-Amz-Signature={R}"),
    ("x --oauth2-bearer abc --jwt def", f"x --oauth2-bearer {R} --jwt {R}"),
    ("aws configure set aws_secret_access_key abc", f"aws configure set aws_secret_access_key {R}"),
    ("npm config set //r/:_authToken abc", f"npm config set //r/:_authToken {R}"),
    ("csh -c setenv PASSWORD abc", f"csh -c setenv PASSWORD {R}"),
    ("PASSWORD+=abc x", f"PASSWORD+={R} x"),
    ("PASSWORD=a\\ b x", f"PASSWORD={R} x"),
    ("PASSWORD=$'a b' x", f"PASSWORD={R} x"),
    ("curl h/?q=a%26token%3Dabc", f"curl h/?q=a%26token%3D{R}"),
    ('curl -d "{\\"password\\":\\"a b\\",\\"x\\":1}"', f'curl -d "{{\\"password\\":{R},\\"x\\":1}}"'),
    ("curl me:hunter2@h/x", f"curl me:{R}@h/x"),
    ("psexec.py dom/me:hunter2@10.0.0.1", f"psexec.py dom/me:{R}@10.0.0.1"),
    # statements, pipes, keys known by their form
    ("mysql -e CREATE USER u IDENTIFIED BY 'a b'", f"mysql -e CREATE USER u IDENTIFIED BY {R}"),
    ("psql -c ALTER USER u WITH PASSWORD 'a'", f"psql -c ALTER USER u WITH PASSWORD {R}"),
    ("sh -c echo hunter2 | sudo -S id", f"sh -c echo {R} | sudo -S id"),
    ("sh -c echo 'a b'|passwd --stdin root", f"sh -c echo {R}|passwd --stdin root"),
    (
        "sh -c echo hunter2 | docker login -u u --password-stdin",
        f"sh -c echo {R} | docker login -u u --password-stdin",
    ),
    ("sh -c echo root:hunter2 | chpasswd", f"sh -c echo root:{R} | chpasswd"),
    ("x ghp_0123456789abcdefghijABCDEFGHIJ012345", f"x {R}"),
    ("vault x hvs.CAESIabcdefghijklmnopqrst", f"vault x {R}"),
    ("x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln y", f"x {R} y"),
    ("echo -----BEGIN RSA PRIVATE KEY-----MIIB-----END", f"echo -----BEGIN {R}-----END"),
    ("echo \U0001f600 PASSWORD=é😀漢 x", f"echo \U0001f600 PASSWORD={R} x"),
    ("a=1\nTOKEN=b\nc", f"a=1\nTOKEN={R}\nc"),
]

KEPT = [
    "bash",
    "",
    "-bash",
    "bash -c 'while :; do sleep 1; done'",
    "mkdir -p /a/b",
    "ssh -p 22 host",
    "docker run -p 8080:80 nginx",
    "kill -9 -p 12",
    "mysql -p db",
    "mysql -u root --password -h db",
    "mysql ; mkdir -px",
    "mysql db; ssh -p22",
    "psql --no-password postgres",
    "x --password-file /run/secrets/db --token-path=/x",
    "env POSTGRES_PASSWORD_FILE=/run/secrets/db run",
    "llm --tokenizer bert --max-tokens 100",
    "env TOKENIZERS_PARALLELISM=false x",
    "x --pass-through yes --bypass=1 compass=north",
    "env PWD=/root OLDPWD=/ sh",
    "docker run -v /run/secrets:/run/secrets x",
    "kubectl get secret my-secret",
    "password reset for token holders",
    "PASSWORD= sh -c x",
    "curl http://h:8080/@scope/pkg",
    "curl https://me@h/x",
    "curl https://me:@h/x",
    "curl -u me https://h",
    "curl -u",
    "curl -u -s",
    "git clone git@github.com:a/b",
    "awk -F: {print}",
    "tar -cpf x.tar .",
    "echo é 😀",
    "docker run -p 8080:80 --name login nginx:1.2@sha256:0a1b",
    "helm template -p x",
    "ssh -o PasswordAuthentication=no me@h:22",
    "curl -U",
    "curl --cert-type PEM https://h",
    "sh -c mail mailto:me@example.com",
    "sort --key=2 -k2,3n --sort-key=creationTimestamp1",
    "openssl x --key=/etc/k8s/pki/server1.key",
    "env PUBLIC_KEY=abcdefgh1 SSH_KEY=~/.ssh/id_1 API_K=1",
    "psql --set=primary_key=customer_id1",
    "kubectl get pods -l key=value,app=x",
    "sh -c grep -ri password /etc",
    "sh -c \"grep -r token '/srv'\"",
    "sh -c echo hello | sudo tee /etc/motd",
    "sh -c echo hello | grep -S x",
    "kubectl config set-context prod",
    "git config token.helper x",
    "sk-like-words are-no-keys xoxb-short eyJhbGci",
    "multipass launch --bypass x overpass=1 tcpdump",
    "-----BEGIN CERTIFICATE-----",
    "date +%H:%M@%S",
]


@pytest.mark.parametrize(("text", "expected"), REDACTED)
def test_a_secret_is_redacted(text: str, expected: str) -> None:
    assert Redactor().clean(text) == CommandLine(expected, len(expected.encode()))


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_secret_is_kept(text: str) -> None:
    assert Redactor().clean(text) == CommandLine(text, len(text.encode()))


def test_the_operators_patterns_redact_their_group_or_the_whole_match() -> None:
    redactor = Redactor([r"--card (\d+)", r"ACME-\w+", r"x?", r"(never)?matched"])
    assert redactor.clean("pay --card 4111 ACME-77 matched").text == f"pay --card {R} {R} matched"


def test_overlapping_secrets_become_one() -> None:
    assert Redactor([r"b=c\s+\w+"]).clean("token=a-b=c d e").text == f"token={R} e"


def test_a_pattern_that_does_not_compile_is_named() -> None:
    with pytest.raises(
        ValueError,
        match=re.escape(
            "'a(': missing ), unterminated subpattern at position 1; want a Python regular expression"
        ),
    ):
        Redactor(["a("])


def counted(kind: str) -> float:
    return REGISTRY.get_sample_value("otel_shell_detector_exporter_redactions_total", {"kind": kind}) or 0.0


def test_redactions_are_counted_by_kind() -> None:
    before = {kind: counted(kind) for kind in KINDS}
    Redactor(["zz"]).clean(
        "token=a TOKEN=b Authorization: c ftp://u:p@h zz ; mysql -pX ; echo y | sudo -S x hvs." + "z1" * 12
    )
    after = {kind: counted(kind) - before[kind] for kind in before}
    assert after == {"named": 2, "header": 1, "url": 1, "client": 1, "piped": 1, "format": 1, "custom": 1}


def test_a_command_line_that_is_read_again_is_redacted_and_counted_again() -> None:
    redactor = Redactor()
    before = {kind: counted(kind) for kind in ("named", "url")}
    line = "x --token=a --token=b ftp://u:p@h"
    first, second = redactor.clean(line), redactor.clean(line)
    assert first == second == CommandLine(f"x --token={R} --token={R} ftp://u:{R}@h", len(first.text))
    assert {kind: counted(kind) - before[kind] for kind in before} == {"named": 4, "url": 2}


def test_of_command_lines_that_were_read_before_neither_many_nor_their_secrets_stay_in_memory() -> None:
    redactor = Redactor()
    for number in range(REMEMBERED + 5):
        redactor.clean(f"x --token=hunter{number}")
    reachable = kept_by(redactor)
    assert sum(isinstance(each, CommandLine) for each in reachable) == 5
    assert not [each for each in reachable if isinstance(each, str) and "hunter" in each]


def kept_by(redactor: Redactor) -> list[object]:
    """What its memory of command lines refers to, over every step."""
    found: list[object] = []
    waiting = [value for value in vars(redactor).values() if isinstance(value, dict)]
    while waiting:
        each = waiting.pop()
        found.append(each)
        if isinstance(each, dict | list | tuple | CommandLine):
            waiting += gc.get_referents(each)
    return found


def test_a_long_command_line_is_cut_on_a_character_and_hashed_whole() -> None:
    text = "x" * 2047 + "é" + "tail"
    assert Redactor().clean(text) == CommandLine("x" * 2047, 2053, hashlib.sha256(text.encode()).hexdigest())


@pytest.mark.parametrize("offset", range(-12, 3))
def test_the_cut_never_uncovers_a_secret_that_it_splits(offset: int) -> None:
    text = "x" * (TEXT_LIMIT_BYTES + offset) + " --password=hunter2 tail"
    cleaned = Redactor().clean(text)
    assert "hunt" not in cleaned.text
    assert cleaned.length == len(text) - len("hunter2") + len(R)


@pytest.mark.parametrize("offset", range(-40, 3))
def test_the_bound_of_the_scan_never_uncovers_a_secret_that_it_splits(offset: int) -> None:
    """Redaction shrinks the text, so that what stood at the bound would be shown."""
    text = "token=" + "y" * (SCAN_LIMIT + offset - 7) + " ftp://user:hunter2@host/ tail"
    cleaned = Redactor().clean(text)
    assert "hunt" not in cleaned.text


def test_what_lies_behind_the_bound_counts_in_the_length_alone() -> None:
    text = "é" * SCAN_LIMIT + "token=" + "z" * 100
    cleaned = Redactor().clean(text)
    shown = "é" * (SCAN_LIMIT - SCAN_MARGIN)
    assert cleaned == CommandLine("é" * 1024, len(text.encode()), hashlib.sha256(shown.encode()).hexdigest())


def test_lone_surrogates_become_visible() -> None:
    assert Redactor().clean("a\ud800b") == CommandLine("a\\ud800b", 8)


fragments = st.sampled_from(
    [*"ab -=:'\"/@?&;\\é", "token", "password", "://", "mysql", "-p", "Authorization", "\ud800"]
)


@given(st.lists(fragments).map("".join))
def test_any_text_is_cleaned_without_an_error_and_what_is_shown_is_bounded(text: str) -> None:
    cleaned = Redactor().clean(text)
    assert len(cleaned.text.encode()) <= TEXT_LIMIT_BYTES
    assert cleaned.truncated or cleaned.length == len(cleaned.text.encode())


@given(
    st.lists(st.sampled_from(["bash", "-c", "x=1", "--flag", "é", "a:b", ";", "/bin/sh"]), max_size=6),
    st.lists(st.sampled_from(["bash", "-c", "x=1", "--flag", "é", "a:b", ";", "/bin/sh"]), max_size=6),
    st.sampled_from(
        [
            "--password=",
            "--token ",
            "MY_SECRET=",
            "Authorization: Bearer ",
            "mysql -p",
            "curl -u u:",
            "ftp://u:",
        ]
    ),
)
def test_a_secret_is_redacted_wherever_it_stands(before: list[str], after: list[str], lead: str) -> None:
    secret = lead + "Hunter2" + ("@h" if "//" in lead else "")
    assert "Hunter2" not in Redactor().clean(" ".join([*before, secret, *after])).text


def work(text: str) -> float:
    """CPU seconds of this thread; the least of three, which no neighbour disturbed."""
    seconds = []
    for _ in range(3):
        begin = time.thread_time()
        assert all(span.start < span.end for rule in RULES for span in rule(text))
        seconds.append(time.thread_time() - begin)
    return min(seconds)


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    "unit",
    [
        "token=", 'token="', "token='", 'token=\\"', "SECRET", "- ", "://", "a://u:p@", "mysql -p ", "-",
        "password ", "--password ", "\"'", "authorization:", "curl -u ", "token='\"", "a.", "a-", 'mysql -p"',
        "?token=&", "key=", "?key=", "key=a ", "STRIPE_KEY=aaaaaaaa;", "echo ", "echo x|", 'echo "',
        "echo 'x' | x ", "echo | sudo ", "docker login ", "docker login -p ", "set password ", "cookie:a, ",
        'cookie:"', '\\"cookie: ', "a:b@", "a:b=", "user x ", "user", "eyJaaaaaaaa.", "ghp_", "-----",
        "BEGIN PRIVATE KEY-----", "password(", "chpasswd a:", "\\", "%26token%3D", "'token: ", "key", "sk-",
        "Authorization: Bearer ", "\u3000", "😀",
    ],
)  # fmt: skip
def test_the_work_grows_with_the_text_and_not_with_its_square(unit: str) -> None:
    """Eight times the text is eight times the work; were it the square, it would be sixty-four times."""
    size = 16 * 1024
    assert work(unit * (8 * size // len(unit))) < 24 * work(unit * (size // len(unit)))
