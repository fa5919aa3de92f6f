# Puts sockjs-tornado and Tornado into site/, and beside them a script for each Python that runs with them.
set -eu
version=1.0.7
rm -rf site
mkdir -p site/lib site/lib-pypy
if [ -n "${SOCKJS_TORNADO:-}" ]; then
  [ -d "$SOCKJS_TORNADO/sockjs/tornado" ] || { echo "SOCKJS_TORNADO is to name a checkout of github.com/mrjoes/sockjs-tornado; $SOCKJS_TORNADO is none" >&2; exit 1; }
  cp -r "$SOCKJS_TORNADO/sockjs" site/lib/
else
  python3 -m pip install --quiet --disable-pip-version-check --retries 0 --no-deps --target site/lib "sockjs-tornado==$version" ||
    { echo "PyPI cannot be reached: let SOCKJS_TORNADO name a checkout of github.com/mrjoes/sockjs-tornado at $version (its newest commit does not import)" >&2; exit 1; }
fi

# CPython: one that has Tornado, else from PyPI.
python=
for p in python3 /usr/bin/python3; do
  if "$p" -c 'import tornado' 2>/dev/null; then python=$p; break; fi
done
if [ -z "$python" ]; then
  python3 -m pip install --quiet --disable-pip-version-check --retries 0 --target site/lib tornado==6.2 ||
    { echo "no Python has Tornado: install Debian's python3-tornado" >&2; exit 1; }
  python=python3
fi

# PyPy: with Tornado 4.5, if there is one.
if [ -n "${TORNADO:-}" ]; then
  [ -d "$TORNADO/tornado" ] || { echo "TORNADO is to name a checkout of github.com/tornadoweb/tornado at v4.5.3; $TORNADO is none" >&2; exit 1; }
  cp -r "$TORNADO/tornado" site/lib-pypy/
elif [ -z "${SOCKJS_TORNADO:-}" ]; then
  python3 -m pip install --quiet --disable-pip-version-check --retries 0 --no-deps --no-binary tornado --target site/lib-pypy tornado==4.5.3
fi

here=$(pwd)/site
printf '#!/bin/sh\nPYTHONPATH=%s/lib exec %s "$@"\n' "$here" "$python" > site/cpython
printf '#!/bin/sh\nPYTHONPATH=%s/lib-pypy:%s/lib exec pypy3 "$@"\n' "$here" "$here" > site/pypy
chmod +x site/cpython site/pypy
say='import platform, tornado, sockjs.tornado; print("%s %s with Tornado %s" % (platform.python_implementation(), platform.python_version(), tornado.version))'
site/cpython -c "$say" > site/version-cpython
if command -v pypy3 >/dev/null; then site/pypy -c "$say" > site/version-pypy; fi
echo "sockjs-tornado $version; $(cat site/version-* | paste -s -d ';')" > site/version
