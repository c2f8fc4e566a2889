// The host's side of the network benchmark, a process of its own so that its time isn't a machine's. Prints the ports of
// its servers as JSON: `download` sends as many MiB of zeros as the line it gets says, `upload` answers how many bytes it
// got, `http` answers a short page.
import { createServer } from "node:http";
import { createServer as createTcpServer } from "node:net";

const MIB = 1024 * 1024;
const PIECE = Buffer.alloc(256 * 1024);

const download = createTcpServer((socket) => {
  let left = 0;
  const send = () => {
    while (left > 0) {
      left -= PIECE.length;
      if (!socket.write(PIECE)) return;
    }
    socket.end();
  };
  socket.once("data", (line) => {
    left = Number(line.toString()) * MIB;
    send();
  });
  socket.on("drain", send);
  socket.on("error", () => {});
});

const upload = createTcpServer({ allowHalfOpen: true }, (socket) => {
  let bytes = 0;
  socket.on("data", (data) => {
    bytes += data.length;
  });
  socket.on("end", () => socket.end(`${bytes / MIB} MiB\n`));
  socket.on("error", () => {});
});

const http = createServer((_request, response) => response.end("a short page\n"));

const ports = {};
for (const [name, server] of Object.entries({ http, upload, download })) {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  ports[name] = server.address().port;
}
console.log(JSON.stringify(ports));
// The parent's end of the pipe closes when it ends, however it ends.
process.stdin.on("end", () => process.exit(0)).resume();
