# Moves the OCS agent of this computer to another server. The agent keeps its DEVICEID and its history
# of deployed packages.
#
# Run the script as administrator, or deploy it as a package of the present server. The script then
# creates a task that moves the agent as soon as no download is running.
param([switch]$Now)
$ErrorActionPreference = 'Stop'
$new = '@SERVER@'
# Certificate authorities for the new server. Empty: the setting stays as it is.
$ca = '@CA@'

$folder = Join-Path $env:ProgramData 'OCS Inventory NG\Agent'
$ini = Join-Path $folder 'ocsinventory.ini'
if (-not (Test-Path $ini)) { throw "cannot move the OCS agent: found no $ini" }

if (-not $Now) {
    $copy = Join-Path $folder 'move.ps1'
    Copy-Item $PSCommandPath $copy -Force
    $action = New-ScheduledTaskAction -Execute 'powershell.exe' `
        -Argument "-NoProfile -ExecutionPolicy Bypass -File `"$copy`" -Now"
    $trigger = New-ScheduledTaskTrigger -Once -At (Get-Date).AddMinutes(1)
    Register-ScheduledTask -TaskName 'Move OCS agent' -User 'SYSTEM' -RunLevel Highest -Force `
        -Action $action -Trigger $trigger | Out-Null
    exit 0
}

# The service starts these programs.
while (Get-Process -Name 'download', 'OCSInventory' -ErrorAction SilentlyContinue) {
    Start-Sleep -Seconds 5
}
Stop-Service 'OCS Inventory Service'
$lines = Get-Content $ini | ForEach-Object {
    if ($_ -match '^\s*Server\s*=') { "Server=$new" }
    elseif ($ca -and $_ -match '^\s*CaBundle\s*=') { "CaBundle=$ca" }
    else { $_ }
}
Set-Content $ini $lines
Start-Service 'OCS Inventory Service'
Unregister-ScheduledTask -TaskName 'Move OCS agent' -Confirm:$false -ErrorAction SilentlyContinue
