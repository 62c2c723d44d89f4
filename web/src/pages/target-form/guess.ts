/** What somebody means who pastes an address: its kind, its fields and a name. Pure. */

export interface Guess {
  kind: string;
  name: string;
  fields: Record<string, unknown>;
}

const URL_LIKE = /^https?:\/\/[^\s/]+/i;
const HOST = /^(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?$/i;
const IPV4 = /^\d{1,3}(\.\d{1,3}){3}$/;
const IPV6 = /^\[?[0-9a-f]*:[0-9a-f:.]*:[0-9a-f:.]*\]?$/i;
const HOST_PORT = /^(?:tcp:\/\/)?(\[[0-9a-f:.]+\]|[^\s:/]+):(\d{1,5})$/i;
const SCHEMED = /^(icmp|ping|dns|tls):\/\/([^\s/:]+)(?::(\d{1,5}))?$/i;

/** null when the text names nothing that could be watched. */
export function guessed(pasted: string): Guess | null {
  const text = pasted.trim();
  if (URL_LIKE.test(text)) return { kind: "http", name: nameOfUrl(text), fields: { url: text } };

  const schemed = SCHEMED.exec(text);
  if (schemed !== null) {
    const kind = (schemed[1] ?? "").toLowerCase().replace("ping", "icmp");
    const host = schemed[2] ?? "";
    return {
      kind,
      name: host,
      fields: { host, ...(schemed[3] === undefined ? {} : { port: Number(schemed[3]) }) },
    };
  }
  const hostPort = HOST_PORT.exec(text);
  if (hostPort !== null && !IPV6.test(text)) {
    const host = (hostPort[1] ?? "").replace(/^\[|\]$/g, "");
    const port = Number(hostPort[2]);
    return port > 0 && port < 65_536
      ? { kind: "tcp", name: `${host}:${port}`, fields: { host, port } }
      : null;
  }
  if (IPV4.test(text) || IPV6.test(text)) {
    const host = text.replace(/^\[|\]$/g, "");
    return { kind: "icmp", name: host, fields: { host } };
  }
  const [host = "", ...path] = text.split("/");
  if (HOST.test(host) && (host.includes(".") || path.length > 0)) {
    const url = `https://${text}`;
    return { kind: "http", name: nameOfUrl(url), fields: { url } };
  }
  return null;
}

/** The host, and the path where it says more: "shop.example", "shop.example/health". */
function nameOfUrl(text: string): string {
  try {
    const url = new URL(text);
    const path = url.pathname.replace(/\/+$/, "");
    return `${url.host.replace(/^www\./, "")}${path}`;
  } catch {
    return text;
  }
}
