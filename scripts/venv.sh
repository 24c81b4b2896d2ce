#!/bin/sh
# Make .venv and install the book into it, with the tested versions.  Called by the Makefile; `sh scripts/venv.sh peers` adds the peers.
set -eu
cd "$(dirname "$0")/.."
VENV=${VENV:-.venv}

good() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

if ! [ -x "$VENV/bin/python" ]; then
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11 /usr/local/bin/python3 /opt/homebrew/bin/python3}; do
        if good "$python"; then found=$python; break; fi
    done
    if [ -z "${found:-}" ]; then
        echo "The book needs Python 3.11 or newer with its venv module. Looked at: ${PYTHON:-python3, python3.13, python3.12, python3.11}" >&2
        echo "    python3 here: $(python3 --version 2>&1 || echo none)" >&2
        echo "Install it (Debian and Ubuntu: sudo apt install python3 python3-venv; macOS: brew install python@3.12)," >&2
        echo "or name one:  make test PYTHON=/path/to/python3.12" >&2
        exit 1
    fi
    echo "making $VENV with $("$found" --version) ($(command -v "$found"))"
    "$found" -m venv "$VENV" || { rm -rf "$VENV"; exit 1; }
fi
if ! good "$VENV/bin/python"; then
    echo "$VENV holds $("$VENV/bin/python" --version 2>&1 || echo 'a broken Python'); remove it (rm -rf $VENV) and try again" >&2
    exit 1
fi

extras=dev
[ "${1:-}" = peers ] && extras=dev,peers
echo "installing vqdiff_edu[$extras] (the first time: a minute or two, some 5 GB with torch)"
if ! "$VENV/bin/python" -m pip install --quiet --editable ".[$extras]" --constraint constraints.txt --log "$VENV/install.log"; then
    echo "The installation failed: see above, and $VENV/install.log. It needs the network once; then try the same command again." >&2
    exit 1
fi
"$VENV/bin/python" -m pip uninstall --quiet --yes jupyterlab-quarto 2>/dev/null || true # in an older .venv: it made JupyterLab load MathJax from a CDN
touch "$VENV/.installed"
if [ "$extras" = dev,peers ]; then touch "$VENV/.peers"; fi
