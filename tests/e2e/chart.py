"""Renders the chart in every form that it has, and looks at what comes out: see chart.sh."""

import os
import pathlib
import subprocess
import sys

import helm_python as helm
import kubernetes_validate
import yaml

VERSIONS = ("1.30", "1.33", "1.37")
ALONE = {"replicas": 1, "memory": {"store": "embedded"}, "shared": {"store": "process"}}
FORMS = {
    "as it is": {},
    "one gateway": ALONE,
    "scaled": {"autoscaling": {"enabled": True}},
    "monitored": {"serviceMonitor": {"enabled": True}},
    "with all": {
        "secrets": {"DATABASE_URL": "postgres://u@db/y", "VALKEY_URL": "valkey://v:6379"},
        "settings": {"YYCHAT__MEMORY__RECALL_LIMIT": "8"},
        "prices": '[[prices]]\nmodel = "m"\ninput = 1\noutput = 2\n',
        "auxiliary": '[[rules]]\nname = "r"\nclient = "c"\nuser_begins = ["x"]\n',
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "k", "operator": "Exists"}],
        "image": {"tag": "9.9", "pullSecrets": [{"name": "registry"}]},
        "networkPolicy": {"enabled": False},
        "memory": {"volume": {"storageClass": "fast"}},
    },
}
REFUSED = {
    "memory.store is embedded": {"memory": {"store": "embedded"}},
    "memory.store is embedded, which": {**ALONE, "autoscaling": {"enabled": True}},
    "shared.store is process": {"shared": {"store": "process"}},
    "give postgres or embedded": {"memory": {"store": "redis"}},
    "give valkey or process": {"shared": {"store": "redis"}},
}


def objects(chart, values):
    rendered = chart.render(values, name="chat", namespace="here")
    for path, text in rendered.items():
        if not path.endswith("NOTES.txt"):
            yield from (found for found in yaml.safe_load_all(text) if found)


def kinds(found):
    return sorted(one["kind"] for one in found)


def check_config(found, yychat, folder):
    """The configuration, with its secrets, passes `yychat check`."""
    maps = {one["metadata"]["name"]: one["data"] for one in found if one["kind"] == "ConfigMap"}
    conf, people = folder / "conf", folder / "personalities"
    for where, files in ((conf, maps["chat"]), (people, maps["chat-personalities"])):
        where.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (where / name).write_text(text)
    text = (conf / "yychat.toml").read_text()
    (conf / "yychat.toml").write_text(text.replace("/etc/yychat/personalities", str(people)))
    env = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": "postgres://u:p@db/yychat",
        "VALKEY_URL": "valkey://valkey:6379",
        "OPENAI_API_KEY": "upstream-key",
        "YYCHAT_API_KEY": "gateway-key-of-app",
    }
    command = [yychat, "--config", str(conf / "yychat.toml"), "check"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def main(folder, yychat, work):
    report = helm.lint(folder)
    bad = [one for one in report["messages"] if one["severity"] > 1]
    assert not bad and not report["errors"], report
    chart = helm.Chart.load(folder)
    cargo = pathlib.Path("Cargo.toml").read_text()
    assert f'\nversion = "{chart.metadata["appVersion"]}"\n' in cargo, "appVersion is the program's"
    for number, (form, values) in enumerate(FORMS.items()):
        found = list(objects(chart, values))
        for one in found:
            if one["kind"] == "ServiceMonitor":
                # Of the Prometheus operator, whose schema is not Kubernetes'.
                service = next(it for it in found if it["metadata"]["name"] == "chat-admin")
                wanted = one["spec"]["selector"]["matchLabels"].items()
                assert wanted <= service["metadata"]["labels"].items()
                continue
            for version in VERSIONS:
                kubernetes_validate.validate(one, version, strict=True)
        deployment = next(one for one in found if one["kind"] == "Deployment")
        template = deployment["spec"]["template"]
        for one in found:
            spec = one.get("spec", {})
            selector = {"Service": spec.get("selector"), "Deployment": spec.get("selector")}.get(one["kind"])
            selector = selector.get("matchLabels", selector) if selector else {}
            assert selector.items() <= template["metadata"]["labels"].items(), (form, one["kind"])
        assert template["spec"]["terminationGracePeriodSeconds"] == 330, "drain and what follows"
        assert "replicas" in deployment["spec"] or "HorizontalPodAutoscaler" in kinds(found)
        assert ("PodDisruptionBudget" in kinds(found)) == (values is not ALONE)
        assert ("PersistentVolumeClaim" in kinds(found)) == (values is ALONE)
        check_config(found, yychat, pathlib.Path(work) / str(number))
        print(f"{form}: {len(found)} objects", flush=True)
    for why, values in REFUSED.items():
        try:
            list(objects(chart, values))
        except helm.HelmError as error:
            assert why in str(error), (why, str(error))
        else:
            raise AssertionError(f"not refused: {why}")
    print(f"refused: {len(REFUSED)}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
