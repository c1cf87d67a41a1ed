"""Files that `weed-instances apply` writes into folders of others, each with a mark of where it comes from."""

import os

from weedops.errors import AccessError, OpsError

MARK = "# Made by weed-instances apply from /etc/default/weed/weed.conf. Removed when it is not needed any more."


def present(path: str) -> str:
    """Return the text of a generated file, "" if there is none. Raises OpsError for one that somebody else has made."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise AccessError(f"{path} cannot be read: {error}")
    if not text.startswith(MARK):
        raise OpsError(f"{path} was not made by weed-instances", "rename it: it may keep its folder and its ending")
    return text


def write(path: str, text: str) -> None:
    """Make the file what it should be; "" removes it, and its folder when that is empty then."""
    folder = os.path.dirname(path)
    if not text:
        os.unlink(path)
        if not os.listdir(folder):
            os.rmdir(folder)
        return
    os.makedirs(folder, mode=0o755, exist_ok=True)
    os.chmod(folder, 0o755)
    # A name that neither systemd nor AppArmor reads.
    fresh = os.path.join(folder, "." + os.path.basename(path) + ".new")
    with open(fresh, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)
    os.replace(fresh, path)
