// The page that shows the API's document, at `/api/docs/`.

import { render } from "preact";
import { Page } from "./page";
import "../ui/theme";
import "../styles/tokens.css";
import "./docs.css";

const root = document.getElementById("docs");
if (root !== null) render(<Page />, root);
