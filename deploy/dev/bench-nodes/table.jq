# Makes a Markdown table of all runs at $rate. The arguments are the installations; ratios are to the first of them.

def median: map(select(. != null)) | sort
    | if length == 0 then null elif length % 2 == 1 then .[length / 2 | floor] else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def shown: if . == null then "" elif . >= 100 then round else (. * 10 | round / 10) end | tostring;
def hundredths: if . == null then "" else (. * 100 | round / 100) | tostring end;

$ARGS.positional as $installations
| map(select(.rate == $rate)) as $runs
| def of($installation): $runs | map(select(.installation == $installation));
  def value($name; $installation): of($installation) | map(.values[$name]) | median | shown;
  def failed($installation): of($installation) | map(select(.failed != [])) | length | tostring;
  # Of the runs of the same round.
  def ratio($name; $installation):
    [of($installations[0])[] as $first | of($installation)[] | select(.round == $first.round)
        | .values[$name] as $value | $first.values[$name] as $base
        | if $base == null or $value == null or $base == 0 then null else $value / $base end]
    | median | hundredths;
  def row: "| " + join(" | ") + " |";
  (["per booking, or as stated", $installations[0]] + ($installations[1:] | map(., "ratio")) | row),
  ([range($installations | length * 2) | "---"] | row),
  ($runs[0].values | keys_unsorted[] as $name
    | [$name, value($name; $installations[0])] + ($installations[1:] | map(value($name; .), ratio($name; .))) | row),
  (["failed runs", failed($installations[0])] + ($installations[1:] | map(failed(.), "")) | row)
