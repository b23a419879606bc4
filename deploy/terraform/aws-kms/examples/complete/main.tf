# Everything that the module has: a multi-Region key with one replica, every role, a trail with a bucket of its own, and
# alarms by mail.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0"
    }
  }
}

provider "aws" {
  region = "eu-central-1"
}

variable "account_id" {
  description = "The account that the roles are in."
  type        = string
}

variable "mail" {
  description = "Who is woken."
  type        = string
}

locals {
  role = "arn:aws:iam::${var.account_id}:role"
}

resource "aws_sns_topic" "alarms" {
  name = "ophie-alarms"
}

resource "aws_sns_topic_subscription" "mail" {
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.mail
}

module "master_key" {
  source = "../.."

  name            = "ophie"
  app             = "ophie"
  multi_region    = true
  replica_regions = ["eu-west-1"]

  administrator_arns       = ["${local.role}/deploy"]
  application_role_arns    = ["${local.role}/ophie-api", "${local.role}/ophie-worker"]
  auditor_role_arns        = ["${local.role}/auditor"]
  migrator_role_arns       = ["${local.role}/ophie-migrator"]
  migration                = ["within"]
  break_glass_trusted_arns = ["arn:aws:iam::${var.account_id}:user/ada", "arn:aws:iam::${var.account_id}:user/ben"]

  alarm_action_arns         = [aws_sns_topic.alarms.arn]
  most_unwraps_in_5_minutes = 3000

  tags = { service = "ophie" }
}

output "key_arn" {
  value = module.master_key.key_arn
}

output "replica_key_arns" {
  value = module.master_key.replica_key_arns
}

output "break_glass_role_arn" {
  value = module.master_key.break_glass_role_arn
}
