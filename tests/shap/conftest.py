from __future__ import annotations

try:
    import shap  # noqa: F401
except ImportError:
    collect_ignore_glob = ["*.py"]
