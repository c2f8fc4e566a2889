// The page around paravirt-worker.mjs: hands its messages to the benchmark command.
window.start = (settings) => {
  const worker = new Worker("/paravirt-worker.js", { type: "module" });
  worker.onmessage = ({ data }) => window.report(data);
  worker.onerror = ({ message }) => window.report({ ended: message });
  worker.postMessage(settings);
  window.send = (text) => worker.postMessage({ input: text });
};
