{{- define "yychat.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "yychat.match" -}}
app.kubernetes.io/name: yychat
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "yychat.labels" -}}
{{ include "yychat.match" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* What cannot work is refused before anything is made. */}}
{{- define "yychat.check" -}}
{{- if not (has .Values.memory.store (list "postgres" "embedded")) -}}
{{- fail (printf "memory.store is %q: give postgres or embedded" .Values.memory.store) -}}
{{- end -}}
{{- if not (has .Values.shared.store (list "valkey" "process")) -}}
{{- fail (printf "shared.store is %q: give valkey or process" .Values.shared.store) -}}
{{- end -}}
{{- $several := or (gt (int .Values.replicas) 1) .Values.autoscaling.enabled -}}
{{- if and $several (eq .Values.memory.store "embedded") -}}
{{- fail "memory.store is embedded, which one gateway alone can open: set memory.store=postgres, or replicas=1 without autoscaling" -}}
{{- end -}}
{{- if and $several (eq .Values.shared.store "process") -}}
{{- fail "shared.store is process, so that rates and budgets would hold in each gateway alone: set shared.store=valkey, or replicas=1 without autoscaling" -}}
{{- end -}}
{{- end -}}
