// The document of the API as the page reads it: its shape, where references lead, and what is made of it. Pure.

export interface Schema {
  $ref?: string;
  type?: string | string[];
  format?: string;
  description?: string;
  enum?: unknown[];
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: boolean | Schema;
  items?: Schema;
  oneOf?: Schema[];
  allOf?: Schema[];
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  maxItems?: number;
  pattern?: string;
}

type Content = Record<string, { schema?: Schema }>;

export interface Answer {
  $ref?: string;
  description?: string;
  content?: Content;
}

export interface Parameter {
  name: string;
  in: string;
  required?: boolean;
  description?: string;
  schema?: Schema;
}

export interface Operation {
  operationId: string;
  tags?: string[];
  summary?: string;
  description?: string;
  parameters?: Parameter[];
  requestBody?: { content: Content; required?: boolean };
  responses: Record<string, Answer>;
  security?: Record<string, string[]>[];
}

export interface ApiDocument {
  info: { title: string; version: string; description?: string; license?: { name: string } };
  tags?: { name: string; description?: string }[];
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema>; responses: Record<string, Answer> };
}

/** An operation and where it is asked for. */
export interface Entry {
  method: string;
  path: string;
  operation: Operation;
}

/** Operations by tag, in the document's order of tags. */
export function byTag(document: ApiDocument): { tag: string; about: string; entries: Entry[] }[] {
  const entries = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ method, path, operation })),
  );
  return (document.tags ?? []).map(({ name, description }) => ({
    tag: name,
    about: description ?? "",
    entries: entries.filter(({ operation }) => operation.tags?.includes(name)),
  }));
}

/** Whether an operation has to do with what was typed. */
export function matches({ method, path, operation }: Entry, sought: string): boolean {
  const text = `${method} ${path} ${operation.summary ?? ""}`.toLowerCase();
  return sought
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

/** The name of what a reference leads to. */
export const nameOf = (reference: string): string => decodeURIComponent(reference.split("/").at(-1) ?? "");

export function answerOf(document: ApiDocument, answer: Answer): Answer {
  return answer.$ref === undefined ? answer : (document.components.responses[nameOf(answer.$ref)] ?? answer);
}

/** Whether nobody, somebody with a token, or either may ask. */
export function security({ security: schemes }: Operation): "none" | "token" | "optional" {
  if (schemes === undefined || schemes.length === 0) return "none";
  return schemes.some((scheme) => Object.keys(scheme).length === 0) ? "optional" : "token";
}

/** What bounds a value, as one writes it. */
export function bounds(schema: Schema): string {
  const { minimum, maximum, minLength, maxLength, maxItems, pattern } = schema;
  const range = (from: number | undefined, to: number | undefined) =>
    from === undefined && to === undefined ? [] : [`${from ?? ""}…${to ?? ""}`];
  const found = [...range(minimum, maximum), ...range(minLength, maxLength), ...range(undefined, maxItems)];
  if (pattern !== undefined) found.push(pattern);
  return found.join(" ");
}

/** A value that fits, for an example. */
export function example(document: ApiDocument, schema: Schema, depth = 0): unknown {
  if (schema.$ref !== undefined) {
    const target = document.components.schemas[nameOf(schema.$ref)];
    return target === undefined || depth > 4 ? {} : example(document, target, depth + 1);
  }
  if (schema.enum !== undefined) return schema.enum[0];
  const type = typeof schema.type === "string" ? schema.type : schema.type?.find((one) => one !== "null");
  switch (type) {
    case "object": {
      const wanted = Object.entries(schema.properties ?? {}).filter(([name]) =>
        schema.required?.includes(name),
      );
      return Object.fromEntries(wanted.map(([name, part]) => [name, example(document, part, depth + 1)]));
    }
    case "array":
      return [];
    case "integer":
    case "number":
      return Math.max(schema.minimum ?? 0, 1);
    case "boolean":
      return true;
    default:
      return schema.format === "date-time" ? "2030-01-01T00:00:00Z" : "…";
  }
}

/** The same as a command; `origin` is the server's. */
export function curl(document: ApiDocument, { method, path, operation }: Entry, origin: string): string {
  const words = ["curl"];
  if (method !== "get") words.push("-X", method.toUpperCase());
  if (security(operation) !== "none") words.push("-H", `'Authorization: Token …'`);
  const content = operation.requestBody?.content;
  const json = content?.["application/json"];
  const form = content?.["multipart/form-data"];
  if (json?.schema !== undefined) {
    const body = JSON.stringify(example(document, json.schema));
    words.push("-H", "'Content-Type: application/json'", "-d", `'${body.replaceAll("'", "'\\''")}'`);
  } else if (form?.schema?.$ref !== undefined) {
    const fields = document.components.schemas[nameOf(form.schema.$ref)]?.properties ?? {};
    for (const [name, field] of Object.entries(fields))
      words.push("-F", field.format === "binary" ? `${name}=@…` : `${name}=…`);
  }
  words.push(`'${origin}${path}'`);
  return words.join(" ");
}
