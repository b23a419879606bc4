"""Stands in for AWS's provider, which no package registry carries: enough of it to apply the module to an emulator.

Terraform starts it as `terraform-provider-aws` (`check.py` writes that file). Its schema is `schema.json`, extracted from
that of AWS's provider. What it does, it does with boto3 at AWS_ENDPOINT_URL. Needs the PyPI packages `tf` and `boto3`.

Invariant: a read asks the emulator, so that a second plan compares with what is there; what the emulator does not say
stays as it was. Absent: most arguments that the
module does not set; proof that AWS's provider does the same.
"""

import functools
import json
import pathlib

from tf import iface, runner, schema
from tf.blocks import SetNestedBlock
from tf.types import Bool, Map, Number, Set, String

SCHEMA = json.loads((pathlib.Path(__file__).parent / "schema.json").read_text())["types"]
KINDS = {"string": String, "number": Number, "bool": Bool}
# The provider fills these in where they are not given.
FILLED_IN = {"id", "region", "name", "account_id", "partition"}
# Where a change of these makes another resource.
REPLACES = {"name", "alarm_name", "bucket", "multi_region", "primary_key_arn", "region", "role", "topic_arn"}


def client(service, region):
    import boto3  # half a second, which most runs of `terraform test` need not spend

    return boto3.client(service, region_name=region, aws_access_key_id="stand", aws_secret_access_key="in")


def kind(text):
    if text.startswith("list of "):
        return Set(kind(text.removeprefix("list of ")))  # order says nothing in what the module uses
    if text.startswith("map of "):
        return Map(kind(text.removeprefix("map of ")))
    return KINDS[text]()


def attributes(entry, filled_in=()):
    for name, text in entry["arguments"].items():
        required = name in entry["required"]
        yield schema.Attribute(
            name,
            kind(text),
            required=required,
            optional=not required,
            computed=not required and name in filled_in,
            requires_replace=name in REPLACES,
        )
    for name, text in entry.get("computed", {}).items():
        yield schema.Attribute(name, kind(text), computed=True)


def blocks(entry):
    for name, inner in entry["blocks"].items():
        body = schema.Block(list(attributes(inner)), list(blocks(inner)))
        yield SetNestedBlock(name, body)


def given(state, **names):
    """Arguments for boto3, by Terraform's names; without those that are not given."""
    return {theirs: state[ours] for theirs, ours in names.items() if state.get(ours) is not None}


def same(old, new):
    """JSON that says the same stays as it was written."""
    return old if old is not None and new is not None and json.loads(old) == json.loads(new) else new


def tags(state):
    return [{"Key": key, "Value": value} for key, value in sorted((state.get("tags") or {}).items())]


class Resource:
    """What most have in common: `put` makes and changes, `look` says what is there or None, `drop` removes."""

    service = None

    def __init__(self, provider):
        self.provider = provider

    @classmethod
    def get_name(cls):
        return cls.type.removeprefix("aws_")

    @classmethod
    @functools.cache
    def get_schema(cls):
        entry = SCHEMA[cls.type]
        return schema.Schema(list(attributes(entry, FILLED_IN)), 0, list(blocks(entry)))

    def validate(self, diags, type_name, config):
        iface.Resource.validate(self, diags, type_name, config)

    def plan(self, ctx, current, planned):
        return planned

    def client(self, state):
        return client(self.service, state.get("region") or self.provider.region)

    def put(self, aws, state):
        raise NotImplementedError

    def change(self, aws, old, state):
        self.put(aws, state)

    def create(self, ctx, planned):
        names = {one.name for one in self.get_schema().attributes}
        state = {name: planned.get(name) for name in planned}
        if "region" in names and not isinstance(state.get("region"), str):
            state["region"] = self.provider.region
        for one in self.get_schema().attributes:
            if one.computed and not isinstance(state.get(one.name), (str, bool, int, list, dict)):
                state[one.name] = None
        state |= self.put(self.client(state), state) or {}
        return state

    def read(self, ctx, current):
        try:
            found = self.look(self.client(current), current)
        except Exception as error:  # boto3's, whose classes are made at run time
            if not any(word in str(error) for word in ("NotFound", "NoSuch", "not found")):
                raise
            return None
        return None if found is None else current | found

    def update(self, ctx, current, planned):
        state = {
            name: current.get(name) if not isinstance(value, (str, bool, int, float, list, dict, type(None))) else value
            for name, value in planned.items()
        }
        self.change(self.client(state), current, state)
        return state

    def delete(self, ctx, current):
        self.drop(self.client(current), current)


class Key(Resource):
    type, service = "aws_kms_key", "kms"

    def put(self, aws, state):
        wanted = given(state, Description="description", Policy="policy", MultiRegion="multi_region")
        made = aws.create_key(**wanted, Tags=[{"TagKey": one["Key"], "TagValue": one["Value"]} for one in tags(state)])
        key = made["KeyMetadata"]
        self.rotate(aws, key["KeyId"], state)
        return {"id": key["KeyId"], "key_id": key["KeyId"], "arn": key["Arn"]}

    def rotate(self, aws, key, state):
        if state.get("enable_key_rotation"):
            aws.enable_key_rotation(KeyId=key, **given(state, RotationPeriodInDays="rotation_period_in_days"))

    def look(self, aws, state):
        key = aws.describe_key(KeyId=state["id"])["KeyMetadata"]
        if key["KeyState"] in ("PendingDeletion", "PendingReplicaDeletion"):
            return None
        found = {"description": key["Description"], "multi_region": key["MultiRegion"]}
        policy = aws.get_key_policy(KeyId=state["id"], PolicyName="default")["Policy"]
        found["policy"] = same(state["policy"], policy)
        rotation = aws.get_key_rotation_status(KeyId=state["id"])
        found["enable_key_rotation"] = rotation["KeyRotationEnabled"]
        if "RotationPeriodInDays" in rotation:  # moto does not say
            found["rotation_period_in_days"] = rotation["RotationPeriodInDays"]
        return found

    def change(self, aws, old, state):
        aws.put_key_policy(KeyId=state["id"], PolicyName="default", Policy=state["policy"])
        aws.update_key_description(KeyId=state["id"], Description=state["description"])
        self.rotate(aws, state["id"], state)

    def drop(self, aws, state):
        aws.schedule_key_deletion(KeyId=state["id"], **given(state, PendingWindowInDays="deletion_window_in_days"))


class ReplicaKey(Key):
    type = "aws_kms_replica_key"

    def put(self, aws, state):
        _, _, _, region, _, key = state["primary_key_arn"].split(":")
        made = client("kms", region).replicate_key(
            KeyId=key.removeprefix("key/"), ReplicaRegion=state["region"], **given(state, Description="description", Policy="policy")
        )["ReplicaKeyMetadata"]
        return {"id": made["KeyId"], "key_id": made["KeyId"], "arn": made["Arn"], "key_spec": "SYMMETRIC_DEFAULT"}

    def look(self, aws, state):
        found = super().look(aws, state)
        return found and {name: found[name] for name in ("description", "policy")}

    def rotate(self, aws, key, state):
        pass


class Alias(Resource):
    type, service = "aws_kms_alias", "kms"

    def put(self, aws, state):
        aws.create_alias(AliasName=state["name"], TargetKeyId=state["target_key_id"])
        return {"id": state["name"]} | self.look(aws, state)

    def look(self, aws, state):
        for one in aws.list_aliases(KeyId=state["target_key_id"])["Aliases"]:
            if one["AliasName"] == state["name"]:
                return {"arn": one["AliasArn"], "target_key_id": one["TargetKeyId"]}
        return None

    def drop(self, aws, state):
        aws.delete_alias(AliasName=state["name"])


class Role(Resource):
    type, service = "aws_iam_role", "iam"

    def put(self, aws, state):
        wanted = given(state, Description="description", MaxSessionDuration="max_session_duration")
        made = aws.create_role(
            RoleName=state["name"], AssumeRolePolicyDocument=state["assume_role_policy"], Tags=tags(state), **wanted
        )
        return {"id": state["name"], "arn": made["Role"]["Arn"], "unique_id": made["Role"]["RoleId"]}

    def look(self, aws, state):
        role = aws.get_role(RoleName=state["name"])["Role"]
        found = {"description": role.get("Description") or None}
        if state.get("max_session_duration"):
            found["max_session_duration"] = role["MaxSessionDuration"]
        trust = role["AssumeRolePolicyDocument"]
        trust = trust if isinstance(trust, str) else json.dumps(trust)
        return found | {"assume_role_policy": same(state["assume_role_policy"], trust)}

    def change(self, aws, old, state):
        aws.update_assume_role_policy(RoleName=state["name"], PolicyDocument=state["assume_role_policy"])

    def drop(self, aws, state):
        aws.delete_role(RoleName=state["name"])


class RolePolicy(Resource):
    type, service = "aws_iam_role_policy", "iam"

    def put(self, aws, state):
        aws.put_role_policy(RoleName=state["role"], PolicyName=state["name"], PolicyDocument=state["policy"])
        return {"id": f"{state['role']}:{state['name']}"}

    def look(self, aws, state):
        policy = aws.get_role_policy(RoleName=state["role"], PolicyName=state["name"])["PolicyDocument"]
        policy = policy if isinstance(policy, str) else json.dumps(policy)
        return {"policy": same(state["policy"], policy)}

    def drop(self, aws, state):
        aws.delete_role_policy(RoleName=state["role"], PolicyName=state["name"])


class Bucket(Resource):
    type, service = "aws_s3_bucket", "s3"

    def put(self, aws, state):
        aws.create_bucket(
            Bucket=state["bucket"], CreateBucketConfiguration={"LocationConstraint": state["region"]}
        )
        return {"id": state["bucket"], "arn": f"arn:aws:s3:::{state['bucket']}"}

    def look(self, aws, state):
        aws.head_bucket(Bucket=state["bucket"])
        return {}

    def drop(self, aws, state):
        aws.delete_bucket(Bucket=state["bucket"])


class BucketPolicy(Resource):
    type, service = "aws_s3_bucket_policy", "s3"

    def put(self, aws, state):
        aws.put_bucket_policy(Bucket=state["bucket"], Policy=state["policy"])
        return {"id": state["bucket"]}

    def look(self, aws, state):
        return {"policy": same(state["policy"], aws.get_bucket_policy(Bucket=state["bucket"])["Policy"])}

    def drop(self, aws, state):
        aws.delete_bucket_policy(Bucket=state["bucket"])


class PublicAccessBlock(Resource):
    type, service = "aws_s3_bucket_public_access_block", "s3"
    names = {
        "BlockPublicAcls": "block_public_acls",
        "BlockPublicPolicy": "block_public_policy",
        "IgnorePublicAcls": "ignore_public_acls",
        "RestrictPublicBuckets": "restrict_public_buckets",
    }

    def put(self, aws, state):
        wanted = given(state, **self.names)
        aws.put_public_access_block(Bucket=state["bucket"], PublicAccessBlockConfiguration=wanted)
        return {"id": state["bucket"]}

    def look(self, aws, state):
        found = aws.get_public_access_block(Bucket=state["bucket"])["PublicAccessBlockConfiguration"]
        return {ours: found[theirs] for theirs, ours in self.names.items()}

    def drop(self, aws, state):
        aws.delete_public_access_block(Bucket=state["bucket"])


class BucketVersioning(Resource):
    type, service = "aws_s3_bucket_versioning", "s3"

    def put(self, aws, state):
        (wanted,) = state["versioning_configuration"]
        aws.put_bucket_versioning(Bucket=state["bucket"], VersioningConfiguration={"Status": wanted["status"]})
        return {"id": state["bucket"]}

    def look(self, aws, state):
        status = aws.get_bucket_versioning(Bucket=state["bucket"]).get("Status")
        (was,) = state["versioning_configuration"]
        return {"versioning_configuration": [was | {"status": status}]}

    def drop(self, aws, state):
        aws.put_bucket_versioning(Bucket=state["bucket"], VersioningConfiguration={"Status": "Suspended"})


class LogGroup(Resource):
    type, service = "aws_cloudwatch_log_group", "logs"

    def put(self, aws, state):
        aws.create_log_group(logGroupName=state["name"], tags=state.get("tags") or {})
        self.change(aws, None, state)
        return {"id": state["name"]} | self.look(aws, state)

    def change(self, aws, old, state):
        aws.put_retention_policy(logGroupName=state["name"], retentionInDays=state["retention_in_days"])

    def look(self, aws, state):
        for one in aws.describe_log_groups(logGroupNamePrefix=state["name"])["logGroups"]:
            if one["logGroupName"] == state["name"]:
                return {"arn": one["arn"].removesuffix(":*"), "retention_in_days": one.get("retentionInDays")}
        return None

    def drop(self, aws, state):
        aws.delete_log_group(logGroupName=state["name"])


class MetricFilter(Resource):
    type, service = "aws_cloudwatch_log_metric_filter", "logs"

    def put(self, aws, state):
        (one,) = state["metric_transformation"]
        aws.put_metric_filter(
            logGroupName=state["log_group_name"],
            filterName=state["name"],
            filterPattern=state["pattern"],
            metricTransformations=[
                {
                    "metricName": one["name"],
                    "metricNamespace": one["namespace"],
                    "metricValue": one["value"],
                    "defaultValue": float(one["default_value"]),
                }
            ],
        )
        return {"id": state["name"]}

    def look(self, aws, state):
        found = aws.describe_metric_filters(logGroupName=state["log_group_name"], filterNamePrefix=state["name"])
        for one in found["metricFilters"]:
            if one["filterName"] == state["name"]:
                (was,) = state["metric_transformation"]
                (there,) = one["metricTransformations"]
                now = {"name": there["metricName"], "namespace": there["metricNamespace"], "value": there["metricValue"]}
                return {"pattern": one["filterPattern"], "metric_transformation": [was | now]}
        return None

    def drop(self, aws, state):
        aws.delete_metric_filter(logGroupName=state["log_group_name"], filterName=state["name"])


class MetricAlarm(Resource):
    type, service = "aws_cloudwatch_metric_alarm", "cloudwatch"
    names = {
        "AlarmDescription": "alarm_description",
        "Namespace": "namespace",
        "MetricName": "metric_name",
        "Statistic": "statistic",
        "Period": "period",
        "EvaluationPeriods": "evaluation_periods",
        "ComparisonOperator": "comparison_operator",
        "Threshold": "threshold",
        "ThresholdMetricId": "threshold_metric_id",
        "TreatMissingData": "treat_missing_data",
        "AlarmActions": "alarm_actions",
    }

    def put(self, aws, state):
        metrics = [self.metric(one) for one in state.get("metric_query") or []]
        extra = {"Metrics": metrics} if metrics else {}
        aws.put_metric_alarm(AlarmName=state["alarm_name"], Tags=tags(state), **given(state, **self.names), **extra)
        return {"id": state["alarm_name"]} | {"arn": self.find(aws, state)["AlarmArn"]}

    def metric(self, query):
        out = given(query, Id="id", Expression="expression", Label="label", ReturnData="return_data")
        for one in query.get("metric") or []:
            metric = {"Namespace": one["namespace"], "MetricName": one["metric_name"]}
            out["MetricStat"] = {"Metric": metric, "Period": int(one["period"]), "Stat": one["stat"]}
        return out

    def find(self, aws, state):
        found = aws.describe_alarms(AlarmNames=[state["alarm_name"]])["MetricAlarms"]
        return found[0] if found else None

    def look(self, aws, state):
        there = self.find(aws, state)
        if there is None:
            return None
        return {ours: there[theirs] for theirs, ours in self.names.items() if theirs in there and state[ours] is not None}

    def drop(self, aws, state):
        aws.delete_alarms(AlarmNames=[state["alarm_name"]])


class Trail(Resource):
    type, service = "aws_cloudtrail", "cloudtrail"
    names = {
        "S3BucketName": "s3_bucket_name",
        "CloudWatchLogsLogGroupArn": "cloud_watch_logs_group_arn",
        "CloudWatchLogsRoleArn": "cloud_watch_logs_role_arn",
        "IncludeGlobalServiceEvents": "include_global_service_events",
        "IsMultiRegionTrail": "is_multi_region_trail",
    }

    def put(self, aws, state):
        wanted = given(state, **self.names, EnableLogFileValidation="enable_log_file_validation")
        made = aws.create_trail(Name=state["name"], **wanted)
        aws.start_logging(Name=state["name"])
        return {"id": state["name"], "arn": made["TrailARN"], "home_region": state["region"]}

    def look(self, aws, state):
        found = aws.describe_trails(trailNameList=[state["name"]])["trailList"]
        if not found:
            return None
        names = self.names | {"LogFileValidationEnabled": "enable_log_file_validation"}
        return {ours: found[0][theirs] for theirs, ours in names.items() if theirs in found[0]}

    def drop(self, aws, state):
        aws.delete_trail(Name=state["name"])


class Topic(Resource):
    type, service = "aws_sns_topic", "sns"

    def put(self, aws, state):
        arn = aws.create_topic(Name=state["name"])["TopicArn"]
        return {"id": arn, "arn": arn}

    def look(self, aws, state):
        aws.get_topic_attributes(TopicArn=state["arn"])
        return {}

    def drop(self, aws, state):
        aws.delete_topic(TopicArn=state["arn"])


class Subscription(Resource):
    type, service = "aws_sns_topic_subscription", "sns"

    def put(self, aws, state):
        made = aws.subscribe(
            TopicArn=state["topic_arn"], Protocol=state["protocol"], Endpoint=state["endpoint"], ReturnSubscriptionArn=True
        )["SubscriptionArn"]
        return {"id": made, "arn": made}

    def look(self, aws, state):
        aws.get_subscription_attributes(SubscriptionArn=state["arn"])
        return {}

    def drop(self, aws, state):
        aws.unsubscribe(SubscriptionArn=state["arn"])


class DataSource(Resource):
    def read(self, ctx, config):
        state = {one.name: None for one in self.get_schema().attributes}
        return state | self.ask()

    @classmethod
    def get_name(cls):
        return cls.type.removeprefix("data.aws_")


class CallerIdentity(DataSource):
    type = "data.aws_caller_identity"

    def ask(self):
        me = client("sts", self.provider.region).get_caller_identity()
        return {"id": me["Account"], "account_id": me["Account"], "arn": me["Arn"], "user_id": me["UserId"]}


class Partition(DataSource):
    type = "data.aws_partition"

    def ask(self):
        return {"id": "aws", "partition": "aws", "dns_suffix": "amazonaws.com"}


class Region(DataSource):
    type = "data.aws_region"

    def ask(self):
        return {"id": self.provider.region, "region": self.provider.region, "name": self.provider.region}


class Provider:
    region = None

    def get_model_prefix(self):
        return "aws_"

    def get_provider_schema(self, diags):
        return schema.Schema([schema.Attribute("region", String(), required=True)])

    def full_name(self):
        return "registry.terraform.io/hashicorp/aws"

    def validate_config(self, diags, config):
        pass

    def configure_provider(self, diags, config):
        self.region = config["region"]

    def get_data_sources(self):
        return DataSource.__subclasses__()

    def get_resources(self):
        found = [one for one in Resource.__subclasses__() if one is not DataSource]
        return found + [ReplicaKey]

    def new_resource(self, cls):
        return cls(self)

    def new_data_source(self, cls):
        return cls(self)

    def get_functions(self):
        return []

    def new_function(self, cls):
        return cls()


def main(arguments):
    runner.run_provider(Provider(), arguments)
