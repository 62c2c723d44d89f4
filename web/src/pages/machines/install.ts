/** What to type on a machine so that it appears here: a command, a service of systemd, a container. Pure. */

import type { AggregatorDoor } from "@/api/types";

export interface Install {
  /** `host:port` of the aggregator. */
  aggregator: string;
  key: string;
}

/** Where the collectors of this installation are received, as far as the browser's own address tells. */
export function aggregatorAt(hostname: string, door: AggregatorDoor): string {
  return `${door.tls ? "grpcs://" : ""}${hostname}:${door.port}`;
}

/** A host name or address with a port, and nothing a shell would understand otherwise. */
export function isAggregator(text: string): boolean {
  return /^((grpc|grpcs):\/\/)?(\[[0-9a-f:.]+\]|[a-z0-9._-]+):\d{1,5}$/i.test(text);
}

export function command({ aggregator, key }: Install): string {
  return `tocsin collector --aggregator ${aggregator} --key ${key}`;
}

/** As in deploy/systemd. The key stands in a file of its own that only root reads; the unit may be read by everybody. */
export function unit({ aggregator, key }: Install): string {
  return `sudo install -m 600 /dev/null /etc/tocsin-collector.env
sudo tee /etc/tocsin-collector.env >/dev/null <<'END'
TOCSIN_AGGREGATOR_URL=${url(aggregator)}
TOCSIN_AGGREGATOR_KEY=${key}
END
sudo tee /etc/systemd/system/tocsin-collector.service >/dev/null <<'END'
[Unit]
Description=Tocsin collector
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/opt/tocsin/.venv/bin/tocsin collector
EnvironmentFile=/etc/tocsin-collector.env
Environment=TOCSIN_DATA_DIR=/var/lib/tocsin-collector
Environment=MALLOC_ARENA_MAX=1
DynamicUser=yes
StateDirectory=tocsin-collector
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
END
sudo systemctl daemon-reload
sudo systemctl enable --now tocsin-collector`;
}

/** As in deploy/collector. */
export function container({ aggregator, key }: Install): string {
  return `docker build -t tocsin-collector -f deploy/collector/Containerfile .
docker run -d --name tocsin-collector --restart always --pid host --network host \\
  -v /:/host:ro,rslave -v tocsin-collector:/data \\
  -e TOCSIN_AGGREGATOR_URL=${url(aggregator)} \\
  -e TOCSIN_AGGREGATOR_KEY=${key} \\
  tocsin-collector`;
}

function url(aggregator: string): string {
  return aggregator.includes("://") ? aggregator : `grpc://${aggregator}`;
}
