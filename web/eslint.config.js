import js from "@eslint/js";
import hooks from "eslint-plugin-react-hooks";
import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";

export default defineConfig(
  { ignores: ["dist", "node_modules", "src/api/schema.d.ts"] },
  js.configs.recommended,
  {
    files: ["src/**/*.{ts,tsx}", "vite.config.ts"],
    extends: [tseslint.configs.strictTypeChecked, hooks.configs.flat.recommended],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/switch-exhaustiveness-check": [
        "error",
        { considerDefaultExhaustiveForUnions: true },
      ],
      "@typescript-eslint/no-unused-vars": ["error", { ignoreRestSiblings: true }],
      // The virtualizer hands out functions that must not be memoized; the component that uses it knows.
      "react-hooks/incompatible-library": "off",
      // Text from outside is text, never markup; and only src/api talks to the server.
      "no-restricted-syntax": [
        "error",
        {
          selector: "JSXAttribute[name.name='dangerouslySetInnerHTML']",
          message: "Text from outside is text.",
        },
        {
          selector: "AssignmentExpression[left.property.name='innerHTML']",
          message: "Text from outside is text.",
        },
      ],
    },
  },
  {
    files: ["src/{app,parts,pages,words}/**/*.{ts,tsx}"],
    rules: {
      "no-restricted-globals": [
        "error",
        { name: "fetch", message: "Requests live in src/api: one hook per endpoint." },
      ],
    },
  },
  {
    files: ["scripts/*.mjs", "public/*.js", "eslint.config.js"],
    languageOptions: {
      globals: {
        console: "readonly",
        URL: "readonly",
        process: "readonly",
        document: "readonly",
        localStorage: "readonly",
        window: "readonly",
      },
    },
  },
);
