// The document as people read it: operations by part, what they take and answer, and all schemas.

import { useEffect, useState } from "preact/hooks";
import { LANGUAGES, type Language, language, setLanguage, t } from "../i18n";
import {
  type Answer,
  type ApiDocument,
  answerOf,
  bounds,
  byTag,
  curl,
  type Entry,
  matches,
  nameOf,
  type Operation,
  type Schema,
  security,
} from "./document";

const DOCUMENT = "/api/openapi.json";

export function Page() {
  const [document, setDocument] = useState<ApiDocument | null>(null);
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    fetch(DOCUMENT)
      .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(String(answer.status)))))
      .then(setDocument, () => setFailed(true));
  }, []);
  return (
    <>
      <header class="top">
        <a href="/">MOznoDS</a>
        <span class="space" />
        <a href={DOCUMENT}>openapi.json</a>
        <select
          aria-label={t("language")}
          value={language.value}
          onChange={(event) => setLanguage(event.currentTarget.value as Language)}
        >
          {Object.entries(LANGUAGES).map(([code, name]) => (
            <option key={code} value={code}>
              {name}
            </option>
          ))}
        </select>
      </header>
      <main>
        {failed && <p role="alert">{t("docs_failed")}</p>}
        {document !== null && <Contents document={document} />}
      </main>
    </>
  );
}

function Contents({ document }: { document: ApiDocument }) {
  const [sought, setSought] = useState("");
  const { info } = document;
  const groups = byTag(document)
    .map((group) => ({ ...group, entries: group.entries.filter((entry) => matches(entry, sought)) }))
    .filter(({ entries }) => entries.length > 0);
  useEffect(() => {
    const show = () => open(location.hash.slice(1));
    show();
    window.addEventListener("hashchange", show);
    return () => window.removeEventListener("hashchange", show);
  }, []);
  return (
    <>
      <h1>
        API <small>{info.version}</small>
      </h1>
      <p class="note">{t("docs_language")}</p>
      <div lang="en">
        {info.description?.split("\n\n").map((text) => (
          <p key={text}>
            <Prose text={text} />
          </p>
        ))}
      </div>
      {info.license && <p class="note">{t("docs_license", { license: info.license.name })}</p>}
      <nav aria-label={t("docs_parts")}>
        {groups.map(({ tag }) => (
          <a key={tag} href={`#${tag}`}>
            {tag}
          </a>
        ))}
        <a href="#schemas">{t("docs_schemas")}</a>
      </nav>
      <input
        type="search"
        class="search"
        placeholder={t("docs_search")}
        aria-label={t("docs_search")}
        value={sought}
        onInput={(event) => setSought(event.currentTarget.value)}
      />
      {groups.length === 0 && <p role="status">{t("docs_nothing")}</p>}
      {groups.map(({ tag, about, entries }) => (
        <section key={tag} id={tag}>
          <h2>
            {tag} <small lang="en">{about}</small>
          </h2>
          {entries.map((entry) => (
            <Described key={entry.operation.operationId} document={document} entry={entry} />
          ))}
        </section>
      ))}
      <section id="schemas">
        <h2>{t("docs_schemas")}</h2>
        {Object.entries(document.components.schemas).map(([name, schema]) => (
          <details key={name} id={`schema-${name}`}>
            <summary>
              <code>{name}</code>
            </summary>
            <Shape schema={schema} />
          </details>
        ))}
      </section>
    </>
  );
}

/** Opens what the address names. */
function open(id: string): void {
  const named = window.document.getElementById(decodeURIComponent(id));
  if (named instanceof HTMLDetailsElement) named.open = true;
  named?.scrollIntoView();
}

function Described({ document, entry }: { document: ApiDocument; entry: Entry }) {
  const { method, path, operation } = entry;
  const command = curl(document, entry, location.origin);
  return (
    <details id={operation.operationId} class="operation">
      <summary>
        <span class={`method ${method}`}>{method.toUpperCase()}</span>
        <code>{path}</code>
        <span class="what" lang="en">
          {operation.summary}
        </span>
      </summary>
      {operation.description && (
        <p lang="en">
          <Prose text={operation.description} />
        </p>
      )}
      <p class="note">{t(`docs_security_${security(operation)}`)}</p>
      <Parameters operation={operation} />
      <Body operation={operation} />
      <h3>{t("docs_answers")}</h3>
      <ul>
        {Object.entries(operation.responses).map(([status, answer]) => (
          <Answered key={status} status={status} answer={answerOf(document, answer)} />
        ))}
      </ul>
      <pre>{command}</pre>
    </details>
  );
}

function Parameters({ operation }: { operation: Operation }) {
  if (!operation.parameters?.length) return null;
  return (
    <>
      <h3>{t("docs_parameters")}</h3>
      <ul>
        {operation.parameters.map(({ name, in: place, required, description, schema }) => (
          <li key={name}>
            <code>{name}</code> <Type schema={schema ?? {}} /> <i>{place}</i>
            {required && <b> {t("docs_required")}</b>}
            {description && <span lang="en"> — {description}</span>}
          </li>
        ))}
      </ul>
    </>
  );
}

function Body({ operation }: { operation: Operation }) {
  const body = operation.requestBody;
  if (body === undefined) return null;
  const shapes = new Map<string, { kinds: string[]; schema: Schema }>();
  for (const [kind, { schema = {} }] of Object.entries(body.content)) {
    const known = shapes.get(JSON.stringify(schema));
    if (known) known.kinds.push(kind);
    else shapes.set(JSON.stringify(schema), { kinds: [kind], schema });
  }
  return (
    <>
      <h3>{t("docs_body")}</h3>
      <ul>
        {[...shapes.values()].map(({ kinds, schema }) => (
          <li key={kinds.join()}>
            <Type schema={schema} /> <i>{kinds.join(", ")}</i>
          </li>
        ))}
      </ul>
    </>
  );
}

function Answered({ status, answer }: { status: string; answer: Answer }) {
  const content = Object.entries(answer.content ?? {});
  return (
    <li>
      <b class={status < "400" ? "good" : "bad"}>{status}</b>{" "}
      {status < "400" && content.map(([kind, { schema }]) => <Type key={kind} schema={schema ?? {}} />)}{" "}
      <span lang="en">
        <Prose text={answer.description ?? ""} />
      </span>
    </li>
  );
}

/** In one line. */
function Type({ schema }: { schema: Schema }) {
  if (schema.$ref !== undefined) {
    const name = nameOf(schema.$ref);
    return <a href={`#schema-${name}`}>{name}</a>;
  }
  const several = schema.oneOf ?? schema.allOf;
  if (several !== undefined) {
    const sign = schema.oneOf ? " | " : " & ";
    return (
      <span>
        {several.map((one, n) => (
          <span key={n}>
            {n > 0 && sign}
            <Type schema={one} />
          </span>
        ))}
      </span>
    );
  }
  if (schema.items !== undefined) {
    return (
      <span>
        [<Type schema={schema.items} />] <i>{bounds(schema)}</i>
      </span>
    );
  }
  const type = [schema.type ?? []].flat().join(" | ");
  const words = schema.enum?.map((word) => JSON.stringify(word)).join(" | ");
  return (
    <span class="type">
      {words ?? `${type}${schema.format ? ` (${schema.format})` : ""}`} <i>{bounds(schema)}</i>
    </span>
  );
}

/** With all its fields. */
function Shape({ schema }: { schema: Schema }) {
  const fields = Object.entries(schema.properties ?? {});
  const others = schema.additionalProperties;
  return (
    <>
      {schema.description && (
        <p lang="en">
          <Prose text={schema.description} />
        </p>
      )}
      {schema.allOf?.map((part, n) => (
        <div key={n}>{part.$ref === undefined ? <Shape schema={part} /> : <Type schema={part} />}</div>
      ))}
      {fields.length === 0 && schema.allOf === undefined && <Type schema={schema} />}
      <ul>
        {fields.map(([name, field]) => (
          <li key={name}>
            <code>{name}</code> <Type schema={field} />
            {schema.required?.includes(name) && <b> {t("docs_required")}</b>}
            {field.description && (
              <span lang="en">
                {" — "}
                <Prose text={field.description} />
              </span>
            )}
          </li>
        ))}
        {typeof others === "object" && (
          <li>
            <code>*</code> <Type schema={others} />
          </li>
        )}
      </ul>
    </>
  );
}

/** What stands in backticks is code. */
function Prose({ text }: { text: string }) {
  return <>{text.split("`").map((part, n) => (n % 2 === 1 ? <code key={n}>{part}</code> : part))}</>;
}
