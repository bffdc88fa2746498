package deploy_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

// strict decodes an object as Kubernetes' own programs do with strict validation.
func strict(t *testing.T) func(text string) (runtime.Object, error) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{appsv1.AddToScheme, corev1.AddToScheme, policyv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	return func(text string) (runtime.Object, error) {
		object, _, err := decoder.Decode([]byte(text), nil, nil)
		return object, err
	}
}

// Every field of the file is one that Kubernetes knows, of the right type and not given twice; a probe, a port and a volume lead where
// they are meant to.
func TestKubernetesDecodesStrictly(t *testing.T) {
	file, err := os.ReadFile("../kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	decode := strict(t)
	kinds := map[string]int{}
	for text := range strings.SplitSeq(string(file), "\n---\n") {
		object, err := decode(text)
		if err != nil {
			t.Errorf("%v in\n%s", err, text)
			continue
		}
		kinds[object.GetObjectKind().GroupVersionKind().Kind]++
		switch o := object.(type) {
		case *appsv1.Deployment:
			podIsSound(t, o.Name, o.Spec.Template.Spec)
			if o.Spec.Replicas == nil || *o.Spec.Replicas != 2 {
				t.Errorf("%s: %v replicas", o.Name, o.Spec.Replicas)
			}
		case *appsv1.StatefulSet:
			podIsSound(t, o.Name, o.Spec.Template.Spec, volumesOf(o)...)
		}
	}
	if kinds["Deployment"] != 1 || kinds["StatefulSet"] != 1 || kinds["Service"] != 2 || kinds["PodDisruptionBudget"] != 1 {
		t.Errorf("%v", kinds)
	}
	// It would be seen if it were otherwise.
	for _, change := range [][2]string{{"replicas: 2", "replicas: two"}, {"replicas:", "replica:"}, {"readinessProbe:", "readynessProbe:"}, {"apiVersion: apps/v1", "apiVersion: apps/v9"}} {
		changed := bytes.Replace(file, []byte(change[0]), []byte(change[1]), 1)
		if bytes.Equal(changed, file) {
			t.Fatalf("the file has no %q", change[0])
		}
		failed := false
		for text := range strings.SplitSeq(string(changed), "\n---\n") {
			_, err := decode(text)
			failed = failed || err != nil
		}
		if !failed {
			t.Errorf("%q goes unnoticed", change[1])
		}
	}
}

// volumesOf are the names of the volumes that a set claims for its pods.
func volumesOf(s *appsv1.StatefulSet) (names []string) {
	for _, claim := range s.Spec.VolumeClaimTemplates {
		names = append(names, claim.Name)
	}
	return names
}

// podIsSound looks that what a pod names is there.
func podIsSound(t *testing.T, name string, pod corev1.PodSpec, claimed ...string) {
	t.Helper()
	volumes := map[string]bool{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
	}
	for _, v := range claimed {
		volumes[v] = true
	}
	for _, c := range pod.Containers {
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("%s mounts %q, which is no volume of the pod", name, m.Name)
			}
		}
		ports := map[string]bool{}
		for _, p := range c.Ports {
			ports[p.Name] = true
		}
		for _, probe := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
			if probe != nil && probe.HTTPGet != nil && probe.HTTPGet.Port.StrVal != "" && !ports[probe.HTTPGet.Port.StrVal] {
				t.Errorf("%s: a probe asks the port %s, which the container has not", name, probe.HTTPGet.Port.StrVal)
			}
		}
	}
}
