// Runs in a process of its own: sends back what it is sent, so that the sender gets a new descriptor for the same socket.
process.on("message", (_message: unknown, handle: unknown) => {
  process.send?.("", handle as never, { keepOpen: false });
});
