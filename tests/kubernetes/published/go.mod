// Where the resources of policy reports are published, of which only the
// CustomResourceDefinitions are taken.

module isthmus/tests/kubernetes/published

go 1.24

require (
	github.com/openreports/reports-api v0.2.1
	sigs.k8s.io/wg-policy-prototypes v0.0.0-20210823142600-b09c9bb01d4c
)
