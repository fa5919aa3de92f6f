// Everybody hears everybody, over Socket.IO 0.8, as in the comparison of 2011. It wants Node 0.10.
//
//   node_modules/node/bin/node server.js HOST PORT
var io = require('socket.io').listen(Number(process.argv[3]), { 'log level': 0, transports: ['websocket'] });

io.sockets.on('connection', function (socket) {
  socket.on('message', function (message) {
    io.sockets.send(message);
  });
});
