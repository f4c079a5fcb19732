"""The variables and the clearml.conf with which the SDK talks to this server only."""

from __future__ import annotations

from pathlib import Path

from tests.clearml_server.endpoints import Options

CONF = """api {{
  api_server: {url}
  web_server: {url}
  files_server: {url}
  credentials {{ access_key: "{access}", secret_key: "{secret}" }}
}}
sdk {{
  storage {{ cache {{ default_base_dir: "{home}/cache" }} }}
  development {{
    vcs_repo_detect_async: false
    store_uncommitted_code_diff: false
    support_stopping: true
    report_use_subprocess: false
    worker {{ report_period_sec: 0.2, ping_period_sec: 1, report_event_flush_threshold: 1, log_stdout: true }}
  }}
}}
"""


def environment(url: str, home: Path, options: Options) -> dict[str, str]:
    """Written to *home*: clearml.conf, and the caches go there."""
    conf = home / "clearml.conf"
    conf.write_text(CONF.format(url=url, access=options.access_key, secret=options.secret_key, home=home))
    return {
        "CLEARML_CONFIG_FILE": str(conf),
        "CLEARML_API_HOST": url,
        "CLEARML_WEB_HOST": url,
        "CLEARML_FILES_HOST": url,
        "CLEARML_API_ACCESS_KEY": options.access_key,
        "CLEARML_API_SECRET_KEY": options.secret_key,
        "CLEARML_CACHE_DIR": str(home / "cache"),
        "CLEARML_SUPPRESS_UPDATE_MESSAGE": "1",  # else it asks for new versions on the internet
        "CLEARML_DISABLE_VAULT_SUPPORT": "1",
    }
