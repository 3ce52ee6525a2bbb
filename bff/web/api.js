// The service's HTTP API, as the sample user.

let token;

export async function signIn() {
  const answer = await fetch("/app/sign-in", { method: "POST" });
  if (!answer.ok) throw new Error("The sample user could not sign in. Is this `bio-bff dev`?");
  token = await answer.text();
}

export const currentToken = () => token;

export class Refused extends Error {
  constructor(status, body) {
    super(body.errors?.length ? `${body.detail}: ${body.errors.map(e => `${e.pointer} ${e.code}`).join(", ")}` : body.detail ?? `Error ${status}`);
    this.status = status;
    this.code = body.code;
    this.body = body;
  }
}

/** One call; a token that has run out is renewed once. Answers {status, body, etag, retryAfter}. */
export async function call(method, path, { body, etag, key, signal } = {}, again = true) {
  const headers = { authorization: `Bearer ${token}` };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (etag) headers["if-match"] = etag;
  if (key) headers["idempotency-key"] = key;
  const answer = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  if (answer.status === 401 && again) {
    await signIn();
    return call(method, path, { body, etag, key, signal }, false);
  }
  const text = await answer.text();
  const json = text ? JSON.parse(text) : null;
  if (!answer.ok) throw new Refused(answer.status, json ?? {});
  return { status: answer.status, body: json, etag: answer.headers.get("etag"), retryAfter: Number(answer.headers.get("retry-after") ?? 0) };
}

export const get = async path => (await call("GET", path)).body;

/** Server-sent events of a path, by reading the answer: EventSource cannot send a token. */
export async function* events(path, signal) {
  const answer = await fetch(path, { headers: { authorization: `Bearer ${token}` }, signal });
  if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => ({})));
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const parts = rest.split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter(l => l.startsWith("data:")).map(l => l.slice(5).trim()).join("\n");
      if (data) yield JSON.parse(data);
    }
  }
}
