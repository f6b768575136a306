#!/bin/sh
# Runs all end-to-end tests, in two labs at the same time: most of them wait
# for engines, not for a processor. Needs root. Exit status 0: all passed.
set -eu
cd "$(dirname "$0")/.."

# These have a mooringd and guests of their own; all others share one site.
own='^Test(ServiceKilledAtEveryStep|PluginKilledAtEveryStep|EngineKilledAtRandom|Quota.*|TwoServicesOneCatalog|PluginProtocol|NeverFormattedTwice|ThousandVolumes|ManagedPluginLife|OthersAreInvisible|Demo|Backup.*|VSphere.*)$'

mkdir -p .cache
go test -count=1 ./e2e/harness
go test -c -o .cache/e2e.test ./e2e
tests() { (cd e2e && exec ../.cache/e2e.test -test.v -test.timeout 40m "$@"); }

status=0
tests -test.run "$own" >.cache/e2e-own.log 2>&1 &
other=$!
trap 'kill $other 2>/dev/null || true' INT TERM
tests -test.skip "$own" || status=1
wait $other || status=1
echo "--- tests with a site of their own, run meanwhile"
cat .cache/e2e-own.log
exit $status
