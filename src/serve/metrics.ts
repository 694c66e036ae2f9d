import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Exchange } from './exchange.js';

/** What Prometheus is told. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #requests;
  readonly #seconds;
  readonly #received;
  readonly #sent;

  constructor(openUploads: () => number) {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    const labelNames = ['method', 'route', 'status'] as const;
    this.#requests = new Counter({
      name: 'imgconv_http_requests_total',
      help: 'Requests',
      labelNames,
      registers,
    });
    this.#seconds = new Histogram({
      name: 'imgconv_http_request_seconds',
      help: 'Time from a request to the end of its answer',
      labelNames: ['method', 'route'],
      buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60],
      registers,
    });
    this.#received = new Counter({
      name: 'imgconv_http_received_bytes_total',
      help: 'Bytes of bodies',
      registers,
    });
    this.#sent = new Counter({ name: 'imgconv_http_sent_bytes_total', help: 'Bytes of answers', registers });
    new Gauge({
      name: 'imgconv_uploads_open',
      help: 'Uploads that are not finished',
      registers,
      collect() {
        this.set(openUploads());
      },
    });
  }

  ended({ method, route, response, received }: Exchange, seconds: number, sent: number): void {
    this.#requests.inc({ method, route, status: String(response.statusCode) });
    this.#seconds.observe({ method, route }, seconds);
    this.#received.inc(received);
    this.#sent.inc(sent);
  }

  async send(exchange: Exchange): Promise<void> {
    exchange.send(200, this.#registry.contentType, await this.#registry.metrics());
  }
}
