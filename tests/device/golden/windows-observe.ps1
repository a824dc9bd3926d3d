
function Say([string] $name, [string] $encoded) { [Console]::Out.Write("$nonce $name $encoded`n") }
function Tell([string] $name, [string] $text) {
  Say $name ([Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes($text)))
}
function Read-Value { [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($stdin.ReadLine())) }
function Get-Unix([DateTime] $time) { ([DateTimeOffset] $time).ToUnixTimeSeconds() }
function Get-Kind([string] $path) {
  try { $attributes = [IO.File]::GetAttributes($path) }
  catch {
    $base = $_.Exception.GetBaseException()
    if ($base -is [IO.FileNotFoundException] -or $base -is [IO.DirectoryNotFoundException]) { return 'absent' }
    return 'other'
  }
  if ($attributes -band [IO.FileAttributes]::ReparsePoint) { return 'symlink' }
  if ($attributes -band [IO.FileAttributes]::Directory) { return 'other' }
  'file'
}
function Get-Sha256([byte[]] $bytes) {
  # Not SHA256.Create: that one throws where Windows only allows what is certified for FIPS.
  $sha = New-Object Security.Cryptography.SHA256CryptoServiceProvider
  ([BitConverter]::ToString($sha.ComputeHash($bytes)) -replace '-', '').ToLowerInvariant()
}
function Get-FileSha256([string] $path) {
  $bytes = [IO.File]::ReadAllBytes($path)
  Get-Sha256 $bytes
}
function Test-Admin {
  $me = New-Object Security.Principal.WindowsPrincipal([Security.Principal.WindowsIdentity]::GetCurrent())
  $me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
}

function Invoke-IoTEdge([string] $arguments, [int] $seconds) {
  # What it printed and how it ended; -1 where it could not be started or did not end in time.
  $result = @{ Code = -1; Text = '' }
  $program = Join-Path $env:ProgramFiles 'iotedge\iotedge.exe'
  if (-not [IO.File]::Exists($program)) {
    # sshd has the PATH of the day it was started, so the usual place comes first.
    $found = Get-Command -Name iotedge -CommandType Application -ErrorAction SilentlyContinue | Select-Object -First 1
    if (-not $found) { return $result }
    $program = $found.Path
  }
  try {
    $start = New-Object Diagnostics.ProcessStartInfo($program, $arguments)
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    # Its stdin is its own: ours holds parameters.
    $start.RedirectStandardInput = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    $start.StandardOutputEncoding = [Text.Encoding]::UTF8
    $process = [Diagnostics.Process]::Start($start)
    $process.StandardInput.Close()
    $output = $process.StandardOutput.ReadToEndAsync()
    $null = $process.StandardError.ReadToEndAsync()
    if ($process.WaitForExit($seconds * 1000)) { $result.Code = $process.ExitCode } else { $process.Kill() }
    # A child that lives on would hold the pipe.
    if ($output.Wait(5000)) { $result.Text = $output.Result }
  } catch { }
  $result
}

function Get-Daemon([string] $name) {
  try { Get-CimInstance -ClassName Win32_Service -Filter "Name='$name'" -OperationTimeoutSec 20 } catch { }
}
function Get-Started($daemon) {
  # When the service's process started; nothing where it has none.
  if ($daemon -and $daemon.ProcessId) {
    try { (Get-Process -Id $daemon.ProcessId).StartTime } catch { }
  }
}
function Get-Mark($daemon) {
  # Differs after every start.
  $began = Get-Started $daemon
  if ($began) { "$($began.Ticks)" } else { '0' }
}

$path = Read-Value
if (Test-Admin) { Tell 'admin' 'yes' } else { Tell 'admin' 'no' }
$version = ((Invoke-IoTEdge 'version' 10).Text -split "`n")[0].Trim()
Tell 'version' $version
if (-not $path) { $path = Join-Path $env:ProgramData 'iotedge\config.yaml' }
Tell 'path' $path
$kind = Get-Kind $path
Tell 'kind' $kind
if ($kind -eq 'file') {
  try { Tell 'modified' (Get-Unix ([IO.File]::GetLastWriteTimeUtc($path))) } catch { }
  try {
    $sections = [Security.AccessControl.AccessControlSections] 'Owner, Access'
    Tell 'mode' ([IO.File]::GetAccessControl($path).GetSecurityDescriptorSddlForm($sections))
  } catch { }
  try {
    $buffer = New-Object byte[] 262145
    $have = 0
    $file = [IO.File]::Open($path, [IO.FileMode]::Open, [IO.FileAccess]::Read, [IO.FileShare] 'ReadWrite, Delete')
    try {
      do {
        $got = $file.Read($buffer, $have, $buffer.Length - $have)
        $have += $got
      } while ($got -gt 0 -and $have -lt $buffer.Length)
    } finally { $file.Dispose() }
    Say 'content' ([Convert]::ToBase64String($buffer, 0, $have))
  } catch { Tell 'readable' 'no' }
}
# What Deploy-IoTEdge left for Initialize-IoTEdge.
$template = Join-Path $env:ProgramFiles 'iotedge\config.yaml'
if ([IO.File]::Exists($template)) { Tell 'package' 'yes' } else { Tell 'package' 'no' }
$number = 0
while ($other = Read-Value) {
  $is = Get-Kind $other
  if ($is -eq 'file') { try { $is = Get-FileSha256 $other } catch { $is = 'other' } }
  elseif ($is -ne 'absent') { $is = 'other' }
  Tell "hash:$number" $is
  $number++
}
function Get-Unit([string] $name, $service, $daemon) {
  # As `systemctl show` says it.
  $load = 'loaded'; $active = 'inactive'; $sub = 'dead'; $result = 'success'; $code = 0
  if ($daemon) { $code = $daemon.ExitCode }
  # 1066: the service has an error code of its own. 1077: it was not started since Windows was.
  if ($code -eq 1066) { $code = $daemon.ServiceSpecificExitCode }
  if ($code -eq 1077) { $code = 0 }
  if (-not $service) { $load = 'not-found' }
  elseif ($service.Status -eq 'Running') { $active = 'active'; $sub = 'running' }
  elseif ($service.Status -eq 'StartPending') { $active = 'activating'; $sub = 'start' }
  elseif ($service.Status -eq 'StopPending') { $active = 'deactivating'; $sub = 'stop' }
  elseif ($code) { $active = 'failed'; $sub = 'failed'; $result = 'exit-code' }
  "Id=$name`nLoadState=$load`nActiveState=$active`nSubState=$sub`nResult=$result`nExecMainStatus=$code`nNRestarts=0" +
    "`nExecMainStartTimestampMonotonic=$(Get-Mark $daemon)"
}
$daemon = Get-Daemon 'iotedge'
$unit = Get-Unit 'iotedge' (Get-Service -Name 'iotedge' -ErrorAction SilentlyContinue) $daemon
# With Linux containers it is Docker Desktop, and IoT Edge's own engine is switched off.
$engines = Get-Service -Name 'iotedge-moby', 'docker', 'com.docker.service' -ErrorAction SilentlyContinue
$engine = $engines | Where-Object { $_.Status -eq 'Running' } | Select-Object -First 1
$name = 'iotedge-moby'
if ($engine) { $name = $engine.Name } else { $engine = $engines | Where-Object { $_.Name -eq $name } }
Tell 'units' ($unit + "`n`n" + (Get-Unit $name $engine (Get-Daemon $name)))
Tell 'now' (Get-Unix ([DateTime]::UtcNow))
$began = Get-Started $daemon
if ($began) { Tell 'started' (Get-Unix $began) }
$modules = (((Invoke-IoTEdge 'list' 15).Text -split "`n") | Select-Object -First 200) -join "`n"
Tell 'modules' $modules
if ($modules -notmatch '(?m)^edgeAgent\s+running') {
  $query = @{ LogName = 'Application'; ProviderName = 'iotedged' }
  if ($began) { $query.StartTime = $began.AddSeconds(-2) }
  $journal = ''
  try {
    $events = Get-WinEvent -FilterHashtable $query -MaxEvents 100 -ErrorAction SilentlyContinue
    $journal = ($events | Sort-Object -Property RecordId | ForEach-Object { $_.Message }) -join "`n"
  } catch { }
  if ($journal.Length -gt 32768) { $journal = $journal.Substring($journal.Length - 32768) }
  Tell 'journal' $journal
}
Tell 'end' 'ok'
