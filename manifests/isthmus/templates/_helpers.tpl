{{- define "isthmus.fullname" -}}
{{- $name := .Values.fullnameOverride }}
{{- if not $name }}
{{- $name = ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) }}
{{- end }}
{{- /* A release may have dots in its name, a Service may not. */}}
{{- $name | replace "." "-" | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "isthmus.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "isthmus.fullname" .) }}
{{- end }}

{{- define "isthmus.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- /* The scout's pods and Service, which those of the webhook do not select. */}}
{{- define "isthmus.scoutLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-scout
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "isthmus.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "isthmus.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* A proxy beside it would have the mesh wait for what guards it, and ask the API server for a certificate it has not. */}}
{{- define "isthmus.outsideMesh" -}}
sidecar.istio.io/inject: "false"
istio.io/dataplane-mode: none
{{- end }}

{{- define "isthmus.image" -}}
{{- $image := .Values.image }}
{{- if not $image.repository }}
{{- fail "image.repository is empty: set it to the image in your registry, such as registry.example.com/isthmus" }}
{{- end }}
{{- if $image.digest }}
{{- printf "%s@%s" $image.repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $image.repository ($image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "isthmus.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "isthmus.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* The namespaces by the values that name them, and under "absent" those that are not there, as far as Helm sees a cluster. */}}
{{- define "isthmus.namespaces" -}}
{{- $members := .Values.memberNamespaces | default (list .Release.Namespace) }}
{{- $absent := list }}
{{- if lookup "v1" "Namespace" "" "kube-system" }}
{{- /* The namespace of the release may be about to be made. */}}
{{- range without (concat .Values.istioNamespaces $members | uniq) .Release.Namespace }}
{{- if not (lookup "v1" "Namespace" "" .) }}
{{- $absent = append $absent . }}
{{- end }}
{{- end }}
{{- end }}
{{- dict "istioNamespaces" .Values.istioNamespaces "memberNamespaces" $members "absent" $absent | toJson }}
{{- end }}

{{- /* The settings, as arguments: each value of the table that files/documents.yaml has of them. */}}
{{- define "isthmus.settings" -}}
{{- $values := merge (include "isthmus.namespaces" . | fromJson) .Values }}
{{- range (.Files.Get "files/documents.yaml" | fromYaml).settings }}
- {{ printf "--%s=%s" .flag (get $values .value | join ",") | quote }}
{{- end }}
{{- end }}

{{- /* Egress to peers, which may be anywhere but where clouds tell machines their secrets. */}}
{{- define "isthmus.peers" -}}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: [169.254.0.0/16, 100.100.100.200/32, 168.63.129.16/32]
    - ipBlock:
        cidr: ::/0
        except: ["fe80::/10", "fd00:ec2::254/128"]
{{- end }}

{{- /* The names that the certificate is for. */}}
{{- define "isthmus.tlsNames" -}}
{{- $service := printf "%s.%s.svc" (include "isthmus.fullname" .) .Release.Namespace }}
{{- $names := list $service }}
{{- with .Values.webhooks.url }}
{{- $host := (urlParse .).host }}
{{- $names = append $names (regexReplaceAll ":[0-9]+$" $host "" | trimPrefix "[" | trimSuffix "]") }}
{{- end }}
{{- join "," $names }}
{{- end }}

{{- /* The Lease that isthmus makes in the namespace of the release, for its replicas to agree by. */}}
{{- define "isthmus.ledger" -}}
{{- include "isthmus.fullname" . }}-ledger
{{- end }}

{{- /* The Secret with the certificate. */}}
{{- define "isthmus.tlsSecret" -}}
{{- if eq .Values.tls.mode "provided" }}
{{- .Values.tls.provided.secretName }}
{{- else }}
{{- include "isthmus.fullname" . }}-tls
{{- end }}
{{- end }}

{{- /* The path of tls.pathSecret behind that of the webhook, as far as Helm sees a cluster. */}}
{{- define "isthmus.secretPath" -}}
{{- with .Values.tls.pathSecret }}
{{- with lookup "v1" "Secret" $.Release.Namespace . }}
{{- $path := get (.data | default dict) "path" | b64dec | trim | splitList "\n" | first | trim }}
{{- if not (regexMatch "^[0-9a-f]{32}$" $path) }}
{{- fail (printf "tls.pathSecret: key path of Secret %s does not begin with 32 lower-case hexadecimal digits, as `openssl rand -hex 16` prints them" $.Values.tls.pathSecret) }}
{{- end }}
{{- printf "/%s" $path }}
{{- else }}
{{- if lookup "v1" "Namespace" "" "kube-system" }}
{{- fail (printf "tls.pathSecret: Secret %s does not exist; create it: kubectl --namespace %s create secret generic %s --from-literal=path=$(openssl rand -hex 16)" . $.Release.Namespace .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* What the values demand of each other. */}}
{{- define "isthmus.check" -}}
{{- if regexMatch "^(d8|kube)-" .Release.Namespace }}
{{- fail (printf "namespace %s: the namespaces d8-* and kube-* are reserved; install into a namespace of its own, such as isthmus" .Release.Namespace) }}
{{- end }}
{{- if not (regexMatch "^[a-z]" (include "isthmus.fullname" .)) }}
{{- fail (printf "release %s: the name of a Service must begin with a letter; set another with --set fullnameOverride=isthmus" .Release.Name) }}
{{- end }}
{{- if and (eq .Values.tls.mode "self") .Values.tls.pathSecret }}
{{- fail "tls.pathSecret cannot be used with tls.mode self, in which isthmus generates the path: leave it empty" }}
{{- end }}
{{- if eq .Values.tls.mode "provided" }}
{{- if not .Values.tls.provided.secretName }}
{{- fail "tls.mode is provided, but tls.provided.secretName is empty: name the Secret with tls.crt and tls.key" }}
{{- end }}
{{- if not .Values.tls.provided.caBundle }}
{{- fail "tls.mode is provided, but tls.provided.caBundle is empty: set it to the CA of the certificate, with --set-file tls.provided.caBundle=ca.pem" }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Namespaces, in place of the values that stand for them. */}}
{{- define "isthmus.expand" -}}
{{- $expanded := list }}
{{- range .names }}
{{- if hasKey $.namespaces . }}
{{- $expanded = concat $expanded (index $.namespaces .) }}
{{- else }}
{{- $expanded = append $expanded . }}
{{- end }}
{{- end }}
{{- $expanded | uniq | sortAlpha | toJson }}
{{- end }}

{{/* For how long a Pod stays on a node that is lost, by each taint of which its tolerations say
nothing: where one tolerates every taint, Kubernetes adds nothing either. */}}
{{- define "isthmus.lostNodes" -}}
{{- $said := dict }}
{{- range .Values.tolerations }}
{{- if eq (.effect | default "NoExecute") "NoExecute" }}
{{- $_ := set $said (.key | default "") true }}
{{- end }}
{{- end }}
{{- if not (or (kindIs "invalid" .Values.lostNodeSeconds) (hasKey $said "")) }}
{{- range list "node.kubernetes.io/not-ready" "node.kubernetes.io/unreachable" }}
{{- if not (hasKey $said .) }}
- key: {{ . }}
  operator: Exists
  effect: NoExecute
  tolerationSeconds: {{ $.Values.lostNodeSeconds }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
