# Builds server.cpp with checkouts of uWebSockets and uSockets.
set -eu
: "${UWEBSOCKETS:?is to name a checkout of github.com/uNetworking/uWebSockets}"
: "${USOCKETS:=$UWEBSOCKETS/uSockets}"
[ -f "$USOCKETS/src/libusockets.h" ] || { echo "USOCKETS is to name a checkout of github.com/uNetworking/uSockets; $USOCKETS is none" >&2; exit 1; }
mkdir -p site
for f in "$USOCKETS"/src/*.c "$USOCKETS"/src/eventing/*.c "$USOCKETS"/src/crypto/*.c; do
  gcc -O3 -DLIBUS_NO_SSL -I "$USOCKETS/src" -c "$f" -o "site/$(basename "$f" .c).o"
done
g++ -std=c++20 -O3 -DLIBUS_NO_SSL -DUWS_NO_ZLIB -I "$UWEBSOCKETS/src" -I "$USOCKETS/src" server.cpp site/*.o -o site/server
echo "uWebSockets $(git -C "$UWEBSOCKETS" describe --tags --always 2>/dev/null || echo unknown)" > site/version
