# Makes the result of a run from the joint report of its load generators, and from what was written and sent before and after.

. as $report
| ([.counts.accepted, 1] | max) as $bookings
# The report divides by the requests that were started.
| def cpu(prefix): [.costs | to_entries[] | select(.key | startswith(prefix)).value.cpu_micros_a_request * $report.counts.started / $bookings];
  def grown(what): ($after[what] - $before[what]) / $bookings;
  def ms: if . == null then null else . / 1000 end;
  (cpu("api") | add) as $apis
| (cpu("worker") | add) as $workers
| (cpu("postgres") | add) as $postgres
| cpu("rabbitmq") as $nodes
| {
    round: $round,
    installation: $installation,
    rate: $rate,
    failed: .verdict.reasons,
    values: {
        "accepted/s": .rates.accepted,
        "settled/s, end to end": .rates.settled,
        "accept p50, ms": .latencies.accept.p50 | ms,
        "accept p99, ms": .latencies.accept.p99 | ms,
        "settle p50, ms": .latencies.settle.p50 | ms,
        "settle p99, ms": .latencies.settle.p99 | ms,
        "CPU of all apis, µs": $apis,
        "CPU of all workers, µs": $workers,
        "CPU of PostgreSQL, µs": $postgres,
        "CPU of the busiest broker node, µs": $nodes | max,
        "CPU of all broker nodes, µs": $nodes | add,
        "CPU of all of these, µs": ($apis + $workers + $postgres + ($nodes | add)),
        "CPU of the load generators, µs": (.loader.cpu_micros_a_request * .counts.started / $bookings),
        "WAL of PostgreSQL, bytes": grown("wal"),
        "growth of the database, bytes": grown("database"),
        "written by all broker nodes, bytes": grown("written"),
        "sent between broker nodes, bytes": grown("between")
    }
}
