// Everybody hears everybody, with uWebSockets.
//
//   server HOST PORT
#include <cstdlib>
#include <string>

#include "App.h"

struct Member {};

int main(int, char **argv) {
  uWS::App app;
  app.ws<Member>("/*", {
    .compression = uWS::DISABLED,
    .maxBackpressure = 16 * 1024 * 1024,
    .open = [](auto *ws) { ws->subscribe("all"); },
    .message = [&app](auto *, std::string_view message, uWS::OpCode code) { app.publish("all", message, code); },
  }).listen(argv[1], std::atoi(argv[2]), [](auto *socket) {
    if (!socket) std::exit(1);
  }).run();
}
