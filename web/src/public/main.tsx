/** Starts the public page: how machines and targets stand, for everybody, served by a relay. */

import "@/app/tokens.css";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Tips } from "@/parts/Tips";
import { Board } from "./Board";
import { feed } from "./feed";

const root = document.getElementById("root");
if (root === null) throw new Error("edge.html has no #root");

feed.open();
createRoot(root).render(
  <StrictMode>
    <Board />
    <Tips />
  </StrictMode>,
);
