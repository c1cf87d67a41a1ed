"""Which configuration files an instance uses, and which are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from weedops.errors import AccessError, ConfigError, OpsError
from weedops.files import find, read_identities, read_toml
from weedops.launch import plan
from weedops.secret import secrets
from weedops.settings import check_settings
from weedops.tls import check_certificates
from weedops.toml import loads

from tests.unit.weed_certificates import certificates
from tests.unit.weed_host import PRODUCT, Host

SETTINGS = check_settings({}, "weed.conf")
FIRST, SECOND = SETTINGS.at("filer", 1), SETTINGS.at("filer", 2)
S3 = SETTINGS.at("s3", 1)


def test_the_nearest_file_wins(tmp_path: Path) -> None:
    host = Host(tmp_path)
    assert find(host.paths, FIRST, "filer.toml") == str(tmp_path / "etc/default/weed/filer.toml")
    host.write("etc/weed/filer.toml", "")
    assert find(host.paths, FIRST, "filer.toml") == str(tmp_path / "etc/weed/filer.toml")
    host.write("etc/weed/filer-1.toml", "")
    assert find(host.paths, FIRST, "filer.toml") == str(tmp_path / "etc/weed/filer-1.toml")
    assert find(host.paths, SECOND, "filer.toml") == str(tmp_path / "etc/weed/filer.toml")


def test_s3_json_and_options_are_found_in_the_same_way(tmp_path: Path) -> None:
    host = Host(tmp_path)
    assert find(host.paths, S3, "s3.json") == ""
    for name in ("s3.json", "s3.options"):
        host.write(f"etc/weed/{name}", "{}")
        assert find(host.paths, S3, name) == str(tmp_path / "etc/weed" / name)
        host.write(f"etc/weed/{name.replace('s3', 's3-1')}", "{}")
        assert find(host.paths, S3, name) == str(tmp_path / "etc/weed" / name.replace("s3", "s3-1"))


def test_files_where_weed_itself_looks_are_read_too(tmp_path: Path) -> None:
    host = Host(tmp_path)
    assert [source.name for source in read_toml(host.paths, FIRST)] == ["security", "filer"]
    host.write("etc/seaweedfs/notification.toml", "[notification.log]\nenabled = true\n")
    assert [source.name for source in read_toml(host.paths, FIRST)] == ["security", "filer", "notification"]


@pytest.mark.parametrize("mode", [0o660, 0o602, 0o666])
def test_a_file_that_others_may_change_is_refused(tmp_path: Path, mode: int) -> None:
    host = Host(tmp_path)
    host.write("etc/weed/security.toml", "", mode)
    with pytest.raises(AccessError, match="may be changed by its group or by everybody") as caught:
        read_toml(host.paths, FIRST)
    assert "chmod go-w" in str(caught.value)


def test_a_folder_that_others_may_change_is_refused(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.write("etc/weed/security.toml", "")
    (tmp_path / "etc/weed").chmod(0o777)
    with pytest.raises(AccessError, match=r"etc/weed may be changed"):
        read_toml(host.paths, FIRST)


def test_the_target_of_a_link_is_what_counts(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.write("srv/security.toml", "", 0o666)
    (tmp_path / "etc/weed/security.toml").symlink_to(tmp_path / "srv/security.toml")
    with pytest.raises(AccessError):
        read_toml(host.paths, FIRST)


def test_a_link_to_nowhere_is_no_missing_file(tmp_path: Path) -> None:
    host = Host(tmp_path)
    (tmp_path / "etc/weed/security.toml").symlink_to("nowhere")
    with pytest.raises(AccessError, match="cannot be read"):
        read_toml(host.paths, FIRST)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.write("etc/weed/security.toml", "", 0o000)
    if os.geteuid() == 0:  # root reads everything; a folder nobody reads
        (tmp_path / "etc/weed/security.toml").unlink()
        (tmp_path / "etc/weed/security.toml").mkdir(mode=0o755)
    with pytest.raises(AccessError, match="weed would start without it"):
        read_toml(host.paths, FIRST)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[grpc\n", """Expected "]" at the end of a table declaration (at line 1,"""),
        ('[grpc]\nca = "a\n', "Illegal character '\\n' (at line 2,"),
        ('[grpc]\nca = "a"\nca = "b"\n', "Can not overwrite a value (at line 3,"),
        ("grpc.ca = yes\n", "Invalid value (at line 1,"),
        ('[jwt.signing]\nkey = "REPLACE-ME"\n', "replace it with a secret of your own"),
    ],
)
def test_a_file_that_weed_would_skip_is_refused(tmp_path: Path, text: str, says: str) -> None:
    host = Host(tmp_path)
    host.write("etc/weed/security.toml", text)
    with pytest.raises(ConfigError) as caught:
        read_toml(host.paths, FIRST)
    assert says in str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    host = Host(tmp_path)
    (tmp_path / "etc/weed/filer.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "etc/weed/filer.toml").chmod(0o644)
    with pytest.raises(ConfigError, match="is not UTF-8"):
        read_toml(host.paths, FIRST)


def test_identities_are_a_secret(tmp_path: Path) -> None:
    host = Host(tmp_path)
    assert read_identities(host.paths, S3) == ""
    path = host.write("etc/weed/s3.json", '{"identities": []}', 0o640)
    assert read_identities(host.paths, S3) == str(path)
    path.chmod(0o644)
    with pytest.raises(AccessError, match="everybody may read it"):
        read_identities(host.paths, S3)
    host.write("etc/weed/s3.json", "{", 0o640)
    with pytest.raises(ConfigError, match=r"s3\.json"):
        read_identities(host.paths, S3)


@pytest.mark.parametrize(
    "text",
    [
        '[jwt.signing]\nkey = "0123"\n',
        '[jwt.filer_signing.read]\nkey = "0123"\n',
        '[JWT.Signing]\nKey = "0123"\n',
        '[sse_s3]\nkek = "0123"\n',
        'admin.password = "0123"\n',
    ],
)
def test_a_security_toml_with_a_secret_is_for_weed_only(tmp_path: Path, text: str) -> None:
    host = Host(tmp_path)
    path = host.write("etc/weed/security.toml", text, 0o644)
    with pytest.raises(AccessError, match=r"security\.toml holds .* and everybody may read it") as caught:
        read_toml(host.paths, FIRST)
    assert f"chmod 0640 {path}" in str(caught.value)
    path.chmod(0o640)
    assert read_toml(host.paths, FIRST)[0].path == str(path)


@pytest.mark.parametrize("text", ["", '[jwt.signing]\nkey = ""\n', '[https.client]\nenabled = false\nkey = ""\n'])
def test_a_security_toml_without_a_secret_may_be_read_by_everybody(tmp_path: Path, text: str) -> None:
    host = Host(tmp_path)
    host.write("etc/weed/security.toml", text, 0o644)
    assert read_toml(host.paths, FIRST)[0].name == "security"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('[grpc.master]\nkey = "/etc/weed/master.key"\ncert = "/etc/weed/master.crt"\n', []),
        ('[mysql]\nenabled = true\nusername = "weed"\npassword = "0123"\n', ["mysql.password"]),
        ('[notification.aws_sqs]\naws_secret_access_key = "0123"\n', ["notification.aws_sqs.aws_secret_access_key"]),
        ('[mongodb]\nuri = "mongodb://weed:0123@db:27017"\n', ["mongodb.uri"]),
        ('[mongodb]\nuri = "mongodb://db:27017"\n[redis2]\npassword = ""\n', []),
    ],
)
def test_what_is_a_secret(text: str, names: list[str]) -> None:
    assert list(secrets(loads(text))) == names


def secured(tmp_path: Path, **replaced: str) -> dict[str, object]:
    certificates(tmp_path)
    pair = {"cert": str(tmp_path / "server.crt"), "key": str(tmp_path / "server.key")}
    grpc: dict[str, object] = {"ca": str(tmp_path / "ca.crt"), "filer": {**pair, **replaced}, "client": pair}
    return {"grpc": grpc}


def test_certificates_that_load_pass(tmp_path: Path) -> None:
    check_certificates(secured(tmp_path), "filer", "security.toml")
    check_certificates({}, "filer", "security.toml")


@pytest.mark.parametrize(
    ("replaced", "says"),
    [
        ({"key": ""}, "[grpc.filer] has no key"),
        ({"cert": ""}, "[grpc.filer] has no cert"),
        ({"key": "ca.key"}, "are not a certificate and its key"),
        ({"cert": "ca.key"}, "are not a certificate and its key"),
        ({"key": "missing.key"}, "missing.key cannot be read"),
    ],
)
def test_a_certificate_that_weed_would_do_without_is_refused(
    tmp_path: Path, replaced: dict[str, str], says: str
) -> None:
    files = {name: str(tmp_path / value) if value else "" for name, value in replaced.items()}
    with pytest.raises(OpsError) as caught:
        check_certificates(secured(tmp_path, **files), "filer", "security.toml")
    assert says in str(caught.value)


def test_certificates_need_an_authority(tmp_path: Path) -> None:
    content = secured(tmp_path)
    content["grpc"]["ca"] = ""  # type: ignore[index]
    with pytest.raises(ConfigError, match=r"\[grpc\] has no ca"):
        check_certificates(content, "filer", "security.toml")
    content["grpc"]["ca"] = str(tmp_path / "server.key")  # type: ignore[index]
    with pytest.raises(ConfigError, match="holds no certificate authority"):
        check_certificates(content, "filer", "security.toml")


def test_a_key_that_others_may_change_is_refused(tmp_path: Path) -> None:
    content = secured(tmp_path)
    (tmp_path / "server.key").chmod(0o666)
    with pytest.raises(AccessError, match=r"server\.key may be changed"):
        check_certificates(content, "filer", "security.toml")


def test_a_key_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    content = secured(tmp_path)
    (tmp_path / "server.key").chmod(0o644)
    with pytest.raises(AccessError, match=r"server\.key is a private key and everybody may read it"):
        check_certificates(content, "filer", "security.toml")
    (tmp_path / "server.key").chmod(0o640)
    check_certificates(content, "filer", "security.toml")


def test_a_key_that_an_options_file_names_is_looked_at_too(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.binary("echo '  -cert.file string'; echo '  -key.file string'")
    key = host.write("srv/s3.key", "", 0o644)
    host.write("etc/weed/s3.options", f"cert.file=/srv/s3.crt\nkey.file={key}\n")
    with pytest.raises(AccessError, match=r"s3\.key is a private key and everybody may read it"):
        plan(host.paths, "s3", "1", {})
    key.chmod(0o600)
    assert f"-key.file={key}" in plan(host.paths, "s3", "1", {}).argv


def test_the_shipped_files_are_accepted(tmp_path: Path) -> None:
    host = Host(tmp_path)
    for role in ("master", "volume", "filer", "s3"):
        names = [source.name for source in read_toml(host.paths, SETTINGS.at(role, 1))]
        assert names == (["security"] if role == "s3" else ["security", role])


@pytest.mark.parametrize("conf", sorted(PRODUCT.glob("config/examples/*/*.conf")), ids=lambda path: path.name)
def test_the_examples_of_weed_conf_are_accepted(conf: Path) -> None:
    from weedops.paths import read_pairs

    assert check_settings(read_pairs(str(conf)), str(conf)).instances()


def test_the_three_hosts_have_the_same_masters_and_filers() -> None:
    from weedops.paths import read_pairs

    hosts = [
        check_settings(read_pairs(str(path)), str(path))
        for path in sorted(PRODUCT.glob("config/examples/three-hosts/*.conf"))
    ]
    assert len(hosts) == 3
    assert len({tuple(sorted(host.seats)) for host in hosts}) == 1
    assert len({tuple(sorted(host.filers)) for host in hosts}) == 1
    assert [len(host.seats) for host in hosts] == [3, 3, 3]


@pytest.mark.parametrize(("folder", "name"), [("tls", "security.toml"), ("s3-identities", "s3.json")])
def test_an_example_with_secrets_does_not_start_as_it_is(tmp_path: Path, folder: str, name: str) -> None:
    host = Host(tmp_path)
    text = (PRODUCT / "config/examples" / folder / name).read_text()
    host.write(f"etc/weed/{name}", text, 0o640)
    read = read_identities if name == "s3.json" else read_toml
    with pytest.raises(ConfigError, match="from the example"):
        read(host.paths, S3)
    host.write(f"etc/weed/{name}", text.replace("REPLACE-ME", "0123456789abcdef"), 0o640)
    assert read(host.paths, S3)
