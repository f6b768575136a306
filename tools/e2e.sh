#!/bin/sh
# Runs all end-to-end tests, in two labs at the same time: most of them wait
# for engines, not for a processor. Those of the portal have no engine and follow
# in the lab that is done first. Needs root. Exit status 0: all passed.
#
# They run on the local hypervisor, some of them again on vSphere. With
# MOORING_E2E_HYPERVISOR=vsphere all run there that do not choose themselves.
set -eu
cd "$(dirname "$0")/.."
hypervisor=${MOORING_E2E_HYPERVISOR:-local}

# These have a mooringd and guests of their own; all others share one site.
own='^Test(ServiceKilledAtEveryStep|PluginKilledAtEveryStep|EngineKilledAtRandom|Quota.*|TwoServicesOneCatalog|PluginProtocol|NeverFormattedTwice|ThousandVolumes|ManagedPluginLife|OthersAreInvisible|Demo|Backup.*|VSphere.*)$'
# These run on a hypervisor that they choose.
choose='^Test(Demo|VSphere.*)$'
# The life of a volume, who may have it, and how much, for vSphere too.
again='^Test(VolumeLifecycle|OneGuestAtATime|PowerOffFreesVolumes|VMGroupIsolation|SizeLimits|QuotaIsExact)$'

mkdir -p .cache
go test -count=1 ./e2e/harness
go test -c -o .cache/e2e.test ./e2e
go test -c -o .cache/e2e-portal.test ./e2e/portal
tests() { (cd e2e && exec ../.cache/e2e.test -test.v -test.timeout 60m "$@"); }
# apart runs the tests with a site of their own, one lab after the other.
apart() {
	trap 'kill $now; exit 1' TERM
	if [ "$hypervisor" = vsphere ]; then
		tests -test.run "$own" -test.skip "$choose" & now=$!
		wait $now
		return
	fi
	failed=0
	tests -test.run "$own" & now=$!
	wait $now || failed=1
	echo "--- again, on vSphere"
	MOORING_E2E_HYPERVISOR=vsphere tests -test.run "$again" & now=$!
	wait $now || failed=1
	return $failed
}

status=0
apart >.cache/e2e-own.log 2>&1 &
other=$!
trap 'kill $other 2>/dev/null || true' INT TERM
tests -test.skip "$own" || status=1
if [ "$hypervisor" = local ]; then
	echo "--- the portal, in a browser"
	(cd e2e/portal && exec ../../.cache/e2e-portal.test -test.v -test.timeout 20m) || status=1
fi
wait $other || status=1
echo "--- tests with a site of their own, run meanwhile"
cat .cache/e2e-own.log
exit $status
